package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestTLSWithClientCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate := selfSigned(t, dir)
	server := redistest.Start(t, "--tls-port 0", "--tls-cert-file "+dir+"/cert.pem", "--tls-key-file "+dir+"/key.pem",
		"--tls-ca-cert-file "+dir+"/cert.pem", "--tls-auth-clients yes")
	authority := x509.NewCertPool()
	authority.AddCert(certificate.Leaf)

	config := &tls.Config{RootCAs: authority, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	store, err := redisstore.OpenTLS(server.URL(), config, redisstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	store.AskEvery(time.Nanosecond) // as if connections had idled
	record := func() coordinator.Record {
		_, r := followed(t, store, coordinator.Reader, "a")
		record := refreshed(t, store, "a", "token")
		eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
		return record
	}()
	if got := loaded(t, store, "a").Record.Generation; got != record.Generation {
		t.Errorf("Load() = generation %d, want %d", got, record.Generation)
	}
	// Over TLS nothing shows that the server has closed an idle connection.
	admin := redis.NewClient(&redis.Options{Addr: server.Addr(), TLSConfig: config})
	defer admin.Close()
	for name, use := range map[string]func() error{
		"Ping": func() error { return store.Ping(t.Context()) },
		"Load": func() error { _, err := store.Load(t.Context(), "a"); return err },
		"Want": func() error {
			return store.Want(t.Context(), "a", coordinator.Want{Reason: coordinator.ReasonRejected})
		},
		"Begin": func() error {
			_, err := store.Begin(t.Context(), "b", coordinator.Begin{Reason: coordinator.ReasonForced, Life: time.Second})
			return err
		},
	} {
		if err := admin.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
			t.Fatal(err)
		}
		if err := use(); err != nil {
			t.Errorf("%s() of a healthy server that had closed the connections = %v", name, err)
		}
	}
	stranger := open(t, server.URL(), redisstore.Options{})
	if _, err := stranger.Load(t.Context(), "a"); !errors.Is(err, coordinator.ErrUnreachable) {
		t.Errorf("Load() without the authority = %v, want %v", err, coordinator.ErrUnreachable)
	}
}

// selfSigned writes cert.pem and key.pem for 127.0.0.1.
func selfSigned(t testing.TB, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": private} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
