package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// overTLS is the bench on a Redis that speaks TLS alone and takes only clients
// with a certificate of the authority's.
func (b *bench) overTLS(authority *redistest.Authority) *bench {
	b.t.Helper()
	cert, key := authority.Issue(b.t)
	return b.with("ZHONGKONG_REDIS", redistest.Start(b.t, authority.Args(b.t)...).URL(),
		"ZHONGKONG_REDIS_CA", authority.File, "ZHONGKONG_REDIS_CERT", cert, "ZHONGKONG_REDIS_KEY", key)
}

func TestEveryCommandSpeaksTLSToRedis(t *testing.T) {
	b := newBench(t).overTLS(redistest.NewAuthority(t))
	d := b.serve()
	d.ready()
	token := b.wechat.Issued()[0].Token
	if got := b.reader().must("show"); got != token+"\n" {
		t.Errorf("show = %q, want %q", got, token)
	}
	b.must("refresh")
	for _, command := range []string{"status", "history", "doctor"} {
		b.must(command)
	}

	yaml := "redis: " + b.env["ZHONGKONG_REDIS"] + "\nredis_ca: " + b.env["ZHONGKONG_REDIS_CA"] +
		"\nredis_cert: " + b.env["ZHONGKONG_REDIS_CERT"] + "\nredis_key: " + b.env["ZHONGKONG_REDIS_KEY"] + "\n"
	without := b.with("ZHONGKONG_REDIS", "", "ZHONGKONG_REDIS_CA", "", "ZHONGKONG_REDIS_CERT", "", "ZHONGKONG_REDIS_KEY", "")
	without.must("status", "--config", b.file("zk.yaml", yaml))
	without.must("status", "--redis", b.env["ZHONGKONG_REDIS"], "--redis-ca", b.env["ZHONGKONG_REDIS_CA"],
		"--redis-cert", b.env["ZHONGKONG_REDIS_CERT"], "--redis-key", b.env["ZHONGKONG_REDIS_KEY"])
}

func TestThePrintedCommandReachesASealedStoreOverTLS(t *testing.T) {
	b := newBench(t).overTLS(redistest.NewAuthority(t))
	line, _ := b.sealKey()
	d := b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", line), "ZHONGKONG_SEAL", "prefer").serve("--sandbox")
	d.ready()
	elsewhere := b.reader().with("ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "",
		"ZHONGKONG_REDIS_CA", "", "ZHONGKONG_REDIS_CERT", "", "ZHONGKONG_REDIS_KEY", "")
	if r := d.tried(elsewhere); r.code != exitDone || len(r.stdout) < 100 {
		t.Errorf("the printed command = %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

func TestAMismatchOfTLSIsCalledThatByEveryCommand(t *testing.T) {
	authority := redistest.NewAuthority(t)
	b := newBench(t)
	over := b.overTLS(authority)
	server, plain := strings.TrimPrefix(over.env["ZHONGKONG_REDIS"], "rediss://"), sharedRedis.Addr()
	for name, test := range map[string]struct {
		bench *bench
		words string
	}{
		"redis:// on a port of TLS":     {b.with("ZHONGKONG_REDIS", "redis://"+server), "this port speaks TLS; write rediss://"},
		"rediss:// on a port without":   {over.with("ZHONGKONG_REDIS", "rediss://"+plain), "this port speaks no TLS; write redis://"},
		"no authority":                  {over.with("ZHONGKONG_REDIS_CA", ""), "unknown authority"},
		"an authority that is another":  {over.with("ZHONGKONG_REDIS_CA", redistest.NewAuthority(t).File), "--redis-ca must hold"},
		"a certificate of another name": {over.with("ZHONGKONG_REDIS", "rediss://localhost"+server[strings.Index(server, ":"):]), "write a name"},
		"no client certificate":         {over.with("ZHONGKONG_REDIS_CERT", "", "ZHONGKONG_REDIS_KEY", ""), "--redis-cert and --redis-key"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{{"status", appID}, {"show", appID, "--wait", "5s"}, {"history", appID}} {
				r := test.bench.run(args...)
				if r.code != exitUnreachable || !strings.Contains(r.stderr, test.words) || strings.Contains(r.stderr, "this machine can reach") {
					t.Errorf("%v = %d\n%s", args, r.code, r.stderr)
				}
			}
			found, fix, _ := strings.Cut(test.words, "; ")
			all := test.bench.findings(exitOther)
			finds(t, all, "redis", resultFail, found)
			finds(t, all, "redis", resultFail, fix)
			d := test.bench.serve()
			d.says(test.words)
		})
	}
}

func TestFilesForTLSThatAreNoneAreRefusedAtTheStart(t *testing.T) {
	authority := redistest.NewAuthority(t)
	b := newBench(t).overTLS(authority)
	_, another := authority.Issue(t)
	for name, test := range map[string]struct {
		bench *bench
		words string
	}{
		"a missing authority":       {b.with("ZHONGKONG_REDIS_CA", "/nowhere.pem"), "--redis-ca: open /nowhere.pem"},
		"an authority that is none": {b.with("ZHONGKONG_REDIS_CA", b.env["ZHONGKONG_REDIS_KEY"]), "has no certificate: PEM is expected"},
		"a missing certificate":     {b.with("ZHONGKONG_REDIS_CERT", "/nowhere.pem"), "--redis-cert /nowhere.pem"},
		"another's key":             {b.with("ZHONGKONG_REDIS_KEY", another), "private key does not match"},
		"a URL without TLS":         {b.with("ZHONGKONG_REDIS", sharedRedis.URL()), "write rediss://"},
	} {
		t.Run(name, func(t *testing.T) { test.bench.fails(exitUsage, test.words, "status", appID) })
	}
}

func TestAClientCertificateThatWasRenewedIsUsedByTheNextConnection(t *testing.T) {
	authority := redistest.NewAuthority(t)
	certFile, keyFile := authority.Issue(t)
	used := make(chan string, 1) // by the client of each handshake
	server := handshakes(t, authority, used)
	var log logtest.Buffer
	c := &clientCertificate{certFile: certFile, keyFile: keyFile, log: slog.New(slog.NewTextHandler(&log, nil))}
	if _, err := c.readLocked(); err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		t.Helper()
		//nolint:gosec // G402: who the server is does not matter here
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, GetClientCertificate: c.get}}
		conn, err := dialer.DialContext(t.Context(), "tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return <-used
	}
	first := serial()

	copyFile := func(from, to string) {
		t.Helper()
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	nextCert, nextKey := authority.Issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Hour) })
	copyFile(nextCert, certFile) // and not yet its key
	if got := serial(); got != first {
		t.Error("a certificate without its key was used")
	}
	if serial(); strings.Count(log.String(), "the old one stays") != 1 {
		t.Errorf("the log does not say once that the files are refused:\n%s", log.String())
	}
	copyFile(nextKey, keyFile)
	if got := serial(); got == first {
		t.Error("the old certificate is still used")
	}
	if !strings.Contains(log.String(), "read again") {
		t.Errorf("the log does not say that it was read again:\n%s", log.String())
	}
}

// handshakes takes clients of TLS, and sends each one's serial number on used.
func handshakes(t *testing.T, authority *redistest.Authority, used chan<- string) (addr string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(authority.Issue(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	config := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	go func() { // ends with the listener; the cleanup waits for it
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			server := tls.Server(conn, config)
			if err := server.HandshakeContext(t.Context()); err == nil {
				used <- server.ConnectionState().PeerCertificates[0].SerialNumber.String()
			}
			_ = server.Close()
		}
	}()
	return l.Addr().String()
}
