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

// fileCheckInterval is the least time between two checks whether the files have
// changed. Handshakes check, and with --client-ca requests do too.
const fileCheckInterval = 2 * time.Second

// certificate is the server's certificate, with the authorities of its clients. It
// is read again when the files change.
type certificate struct {
	files              Exposure
	log                *slog.Logger
	current            atomic.Pointer[tls.Config]
	authoritiesChanged func(*tls.Config)

	mu          sync.Mutex // guards what follows; handshakes use TryLock and do not wait
	checked     time.Time
	sum         [sha256.Size]byte // of the files as last read, also if they were refused
	unreadable  string            // why they could not be read last, so that it is logged once
	authorities []byte            // PEM, those in use
}

// newCertificate reads the files. It returns nil if the server speaks plain HTTP.
func newCertificate(e Exposure, log *slog.Logger) (*certificate, error) {
	switch {
	case e.CertFile == "" && e.KeyFile == "" && e.ClientCAFile == "":
		return nil, nil
	case e.CertFile == "" || e.KeyFile == "":
		return nil, errors.New("TLS needs both --tls-cert and --tls-key")
	}
	c := &certificate{files: e, log: log}
	return c, c.reload()
}

// Check reads the files as NewServer does, and returns what is wrong with them.
func (e Exposure) Check() error {
	_, err := newCertificate(e, slog.New(slog.DiscardHandler))
	return err
}

// serverConfig returns the configuration with which connections are accepted.
func (c *certificate) serverConfig() *tls.Config {
	return &tls.Config{GetConfigForClient: c.config, MinVersion: tls.VersionTLS12, NextProtos: protocols}
}

// protocols are offered to clients, the best first.
var protocols = []string{"h2", "http/1.1"}

// config is tls.Config.GetConfigForClient.
func (c *certificate) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c.reloadIfChanged()
	config := c.current.Load()
	if conn := connectionOf(hello.Conn); conn != nil {
		conn.config.Store(config)
	}
	return config, nil
}

// reloadIfChanged reads the files again if their content has changed. Times and
// links say too little about what renewal tools do.
func (c *certificate) reloadIfChanged() {
	if !c.mu.TryLock() {
		return // another goroutine is at it
	}
	defer c.mu.Unlock()
	if time.Since(c.checked) < fileCheckInterval {
		return
	}
	c.checked = time.Now()
	files, err := c.readFiles()
	before := c.unreadable
	if c.unreadable = ""; err != nil {
		c.unreadable = err.Error()
	}
	if err != nil && c.unreadable == before || err == nil && files.sum == c.sum {
		return
	}
	if err == nil {
		err = c.applyLocked(files)
	}
	if err != nil {
		c.log.Error("the new certificate is refused, the old one stays", "error", err)
		return
	}
	c.log.Info("certificate read again")
}

// reload reads the files, whether they have changed or not.
func (c *certificate) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked = time.Now()
	files, err := c.readFiles()
	if err != nil {
		return err
	}
	return c.applyLocked(files)
}

type pemFiles struct {
	cert, key, authorities []byte
	sum                    [sha256.Size]byte
}

func (c *certificate) readFiles() (pemFiles, error) {
	var p pemFiles
	h := sha256.New()
	for _, file := range []struct {
		option, path string
		content      *[]byte
	}{
		{"--tls-cert", c.files.CertFile, &p.cert},
		{"--tls-key", c.files.KeyFile, &p.key},
		{"--client-ca", c.files.ClientCAFile, &p.authorities},
	} {
		if file.path == "" {
			continue
		}
		content, err := os.ReadFile(file.path)
		if err != nil {
			return p, fmt.Errorf("%s: %w", file.option, err)
		}
		*file.content = content
		fmt.Fprintf(h, "%d\n", len(content))
		_, _ = h.Write(content) // cannot fail
	}
	p.sum = [sha256.Size]byte(h.Sum(nil))
	return p, nil
}

func (c *certificate) applyLocked(p pemFiles) error {
	c.sum = p.sum // also if it is refused, so that the error is logged once
	pair, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("--tls-cert %s, --tls-key %s: %w", c.files.CertFile, c.files.KeyFile, err)
	}
	next := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   protocols,
	}
	if c.files.ClientCAFile != "" {
		next.ClientCAs = x509.NewCertPool()
		next.ClientAuth = tls.VerifyClientCertIfGiven // admits demands one
		if !next.ClientCAs.AppendCertsFromPEM(p.authorities) {
			return fmt.Errorf("--client-ca %s: %w", c.files.ClientCAFile, errors.New("no certificate in it; PEM is expected"))
		}
	}
	c.current.Store(next)
	changed := c.authorities != nil && !bytes.Equal(c.authorities, p.authorities)
	c.authorities = p.authorities
	if changed {
		c.authoritiesChanged(next)
	}
	return nil
}
