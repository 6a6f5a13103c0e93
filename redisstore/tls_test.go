package redisstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestTLSWithClientCertificate(t *testing.T) {
	authority := redistest.NewAuthority(t)
	server := redistest.Start(t, authority.Args(t)...)
	config := clientTLS(t, authority)
	config.Certificates = []tls.Certificate{keyPair(t, authority)}
	store, err := redisstore.Open(server.URL(), redisstore.Options{TLS: config})
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
			return store.Want(t.Context(), "a", coordinator.WantRequest{Reason: coordinator.ReasonRejected})
		},
		"Begin": func() error {
			_, err := store.Begin(t.Context(), "b", coordinator.BeginRequest{Reason: coordinator.ReasonForced, TTL: time.Second})
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

func TestAMismatchOfTLSIsCalledThat(t *testing.T) {
	authority, stranger := redistest.NewAuthority(t), redistest.NewAuthority(t)
	plain := redistest.Start(t)
	server := redistest.Start(t, authority.Args(t)...)
	named := redistest.Start(t, authority.Args(t, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"redis.example.com"}
	})...)
	expired := redistest.Start(t, authority.Args(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })...)
	with := func(edits ...func(*tls.Config)) *tls.Config {
		config := clientTLS(t, authority)
		config.Certificates = []tls.Certificate{keyPair(t, authority)}
		for _, edit := range edits {
			edit(config)
		}
		return config
	}
	certificateOf := func(certificates ...tls.Certificate) func(*tls.Config) {
		return func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
		}
	}
	none := func(c *tls.Config) { c.Certificates = nil }
	twelve := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	for name, test := range map[string]struct {
		url   string
		tls   *tls.Config
		words []string
	}{
		"no TLS where TLS is spoken":  {"redis://" + server.Addr(), nil, []string{"this port speaks TLS", "rediss://"}},
		"TLS where none is spoken":    {"rediss://" + plain.Addr(), with(), []string{"speaks no TLS", "write redis://"}},
		"an authority of one's own":   {server.URL(), nil, []string{"unknown authority", "--redis-ca"}},
		"another authority":           {server.URL(), clientTLS(t, stranger), []string{"unknown authority", "--redis-ca"}},
		"another name":                {named.URL(), with(), []string{"IP SANs", "write a name"}},
		"a certificate that is over":  {expired.URL(), with(), []string{"expired", "renew it"}},
		"no client certificate":       {server.URL(), with(none), []string{"wants a client certificate", "--redis-cert"}},
		"none, in TLS 1.2":            {server.URL(), with(none, twelve), []string{"a client certificate", "--redis-cert"}},
		"a stranger's":                {server.URL(), with(certificateOf(keyPair(t, stranger))), []string{"refuses the client certificate", "tls-ca-cert-file"}},
		"a stranger's, in TLS 1.2":    {server.URL(), with(certificateOf(keyPair(t, stranger)), twelve), []string{"refuses the client certificate", "tls-ca-cert-file"}},
		"no TLS to sentinels that do": {"redis://" + server.Addr() + "?master_name=m", nil, []string{"this port speaks TLS"}},
		"TLS to a cluster without":    {"rediss://" + plain.Addr() + "?addr=" + plain.Addr(), with(), []string{"speaks no TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := func(op string, err error) {
				t.Helper()
				var found *redisstore.TLSError
				if !errors.As(err, &found) || !errors.Is(err, coordinator.ErrUnreachable) {
					t.Errorf("%s() = %v, want a TLSError that is %v", op, err, coordinator.ErrUnreachable)
				}
				for _, words := range test.words {
					if err != nil && !strings.Contains(err.Error(), words) {
						t.Errorf("%s() = %v, want %q in it", op, err, words)
					}
				}
			}
			store := open(t, test.url, redisstore.Options{TLS: test.tls})
			_, err := store.Load(t.Context(), "a")
			check("Load", err)
			check("Ping", open(t, test.url, redisstore.Options{TLS: test.tls}).Ping(t.Context()))
			r := new(recorder)
			sub := open(t, test.url, redisstore.Options{TLS: test.tls}).Subscribe(r)
			sub.Add(coordinator.Reader, "a")
			run(t, sub)
			eventually(t, "Lost", patience, func() bool { _, lost, _ := r.counts(); return lost > 0 })
			check("Subscribe", r.lost[0])
		})
	}
}

func TestAServerThatDoesNotAnswerIsNoMismatch(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closes": func(net.Conn) {},
		"hangs":  func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
	} {
		for _, scheme := range []string{"redis://", "rediss://"} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				t.Parallel()
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() { // ends with the listener
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						go func() { defer conn.Close(); serve(conn) }() // ends with the connection
					}
				}()
				_, err = open(t, scheme+l.Addr().String(), redisstore.Options{Timeout: 500 * time.Millisecond}).Load(t.Context(), "a")
				var found *redisstore.TLSError
				if !errors.Is(err, coordinator.ErrUnreachable) || errors.As(err, &found) {
					t.Errorf("Load() = %v, want %v and no word of TLS", err, coordinator.ErrUnreachable)
				}
			})
		}
	}
}

func TestTLSIsForURLsThatAskForIt(t *testing.T) {
	for _, url := range []string{
		"redis://127.0.0.1:1", "unix:///run/redis.sock", "redis://127.0.0.1:1?master_name=m", "redis://127.0.0.1:1?addr=127.0.0.1:2",
	} {
		if _, err := redisstore.Open(url, redisstore.Options{TLS: &tls.Config{}}); err == nil || !strings.Contains(err.Error(), "rediss://") {
			t.Errorf("Open(%s) = %v", url, err)
		}
	}
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	if _, err := redisstore.New(client, redisstore.Options{TLS: &tls.Config{}}); err == nil || !strings.Contains(err.Error(), "is for Open") {
		t.Errorf("New() = %v", err)
	}
}

// clientTLS trusts the authority.
func clientTLS(t testing.TB, a *redistest.Authority) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(a.File)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	config.RootCAs.AppendCertsFromPEM(authority)
	return config
}

// keyPair is a client certificate.
func keyPair(t testing.TB, a *redistest.Authority) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Issue(t))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
