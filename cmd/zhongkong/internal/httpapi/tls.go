package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookAtFilesEvery is how often, at most, a handshake looks whether the files
// have changed; with --client-ca, a request does too.
const lookAtFilesEvery = 2 * time.Second

// keyPair is a certificate that follows its files.
type keyPair struct {
	files    Exposure
	log      *slog.Logger
	current  atomic.Pointer[tls.Config]
	distrust func(*tls.Config) // called when the authorities have changed

	mu          sync.Mutex // guards what follows; handshakes try it, they never wait
	looked      time.Time
	sum         [sha256.Size]byte // of the files when they were read last, well or badly
	authorities []byte            // those in use
}

func newKeyPair(e Exposure, log *slog.Logger) (*keyPair, error) {
	k := &keyPair{files: e, log: log}
	return k, k.read()
}

// config returns what a handshake needs. It is tls.Config.GetConfigForClient.
func (k *keyPair) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	k.follow()
	config := k.current.Load()
	if c := connectionOf(hello.Conn); c != nil {
		c.config.Store(config)
	}
	return config, nil
}

// follow reads the files again if they have changed. Their content is
// compared: what renewal tools do to times and links is beyond prediction.
func (k *keyPair) follow() {
	if !k.mu.TryLock() {
		return // somebody is looking
	}
	defer k.mu.Unlock()
	if time.Since(k.looked) < lookAtFilesEvery {
		return
	}
	k.looked = time.Now()
	material, err := k.material()
	if err == nil && material.sum == k.sum {
		return
	}
	if err == nil {
		err = k.useLocked(material)
	}
	if err != nil {
		k.log.Error("the new certificate is refused, the old one stays", "error", err)
		return
	}
	k.log.Info("certificate read again")
}

// read reads the files.
func (k *keyPair) read() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked = time.Now()
	material, err := k.material()
	if err != nil {
		return err
	}
	return k.useLocked(material)
}

// material is the content of the files.
type material struct {
	cert, key, authorities []byte
	sum                    [sha256.Size]byte
}

func (k *keyPair) material() (material, error) {
	var m material
	h := sha256.New()
	for _, file := range []struct {
		option, path string
		content      *[]byte
	}{
		{"--tls-cert", k.files.CertFile, &m.cert},
		{"--tls-key", k.files.KeyFile, &m.key},
		{"--client-ca", k.files.ClientCAFile, &m.authorities},
	} {
		if file.path == "" {
			continue
		}
		content, err := os.ReadFile(file.path)
		if err != nil {
			return m, fmt.Errorf("%s: %w", file.option, err)
		}
		*file.content = content
		fmt.Fprintf(h, "%d\n", len(content))
		_, _ = h.Write(content) // never fails
	}
	m.sum = [sha256.Size]byte(h.Sum(nil))
	return m, nil
}

func (k *keyPair) useLocked(m material) error {
	k.sum = m.sum // also when it is refused: say so once
	pair, err := tls.X509KeyPair(m.cert, m.key)
	if err != nil {
		return fmt.Errorf("--tls-cert %s, --tls-key %s: %w", k.files.CertFile, k.files.KeyFile, err)
	}
	next := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if k.files.ClientCAFile != "" {
		next.ClientCAs = x509.NewCertPool()
		next.ClientAuth = tls.VerifyClientCertIfGiven // handle demands one
		if !next.ClientCAs.AppendCertsFromPEM(m.authorities) {
			return fmt.Errorf("--client-ca %s: %w", k.files.ClientCAFile, errors.New("no certificate in it; PEM is expected"))
		}
	}
	k.current.Store(next)
	changed := k.authorities != nil && !bytes.Equal(k.authorities, m.authorities)
	k.authorities = m.authorities
	if changed {
		k.distrust(next)
	}
	return nil
}
