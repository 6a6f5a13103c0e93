package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// certificate writes a self-signed certificate for a name and its key.
func (b *bench) certificate(name string) (certFile, keyFile string) {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		b.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.t.Fatal(err)
	}
	block := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return b.file("cert.pem", block("CERTIFICATE", cert)), b.file("key.pem", block("PRIVATE KEY", private))
}

// freeAddress is an address without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestHealthIsThatOfTheProcess(t *testing.T) {
	server := redistest.Start(t)
	b := newBench(t).with("ZHONGKONG_REDIS", server.URL(), "ZHONGKONG_SECRET", wrongSecret)
	d := b.serve()
	if out := b.must("health", d.url); out != "" {
		t.Errorf("health = %q, want nothing on stdout", out)
	}
	b.must("health", d.url+"/healthz")
	server.Kill() // it lives on, and so does its memory
	b.must("health", d.url)
	d.stop()
	b.fails(exitOther, d.url+"/healthz: dial tcp", "health", d.url)
	b.fails(exitUsage, "not a web address", "health", "localhost:8080")
	b.fails(exitUsage, "one URL", "health", "a", "b")
}

func TestHealthAsksWhereServeListens(t *testing.T) {
	for name, listen := range map[string]func(port string) string{
		"an address":    func(port string) string { return "127.0.0.1:" + port },
		"all addresses": func(port string) string { return ":" + port },
		"all of IPv4":   func(port string) string { return "0.0.0.0:" + port },
	} {
		t.Run(name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(freeAddress(t))
			b := newBench(t)
			b = b.with("ZHONGKONG_LISTEN", listen(port), "ZHONGKONG_PLAINTEXT_OK", "true")
			b.fails(exitOther, "127.0.0.1:"+port, "health")
			r := b.start(t.Context(), "", "serve")
			r.says("accounts:")
			b.must("health")
			// What is wrong with a file that is refused does not make it ill.
			broken := b.file("zk.yaml", "colour: red\nlisten: 127.0.0.1:1\naccounts: []\n")
			b.with("ZHONGKONG_CONFIG", broken, "ZHONGKONG_SECRET", "", "ZHONGKONG_SECRET_FILE", "/nowhere").must("health")
		})
	}
	newBench(t).with("ZHONGKONG_LISTEN", "127.0.0.1:0").fails(exitUsage, "give the URL", "health")
}

// A serve goes on with what it has read: what is wrong with the files does not make it ill.
func TestHealthIsNotThatOfTheFiles(t *testing.T) {
	secured := newBench(t)
	cert, key := secured.certificate("zhongkong.example")
	another, _ := secured.certificate("zhongkong.example")
	for name, with := range map[string]*bench{
		"plain HTTP": secured,
		"TLS":        secured.with("ZHONGKONG_TLS_CERT", cert, "ZHONGKONG_TLS_KEY", key),
	} {
		t.Run(name, func(t *testing.T) {
			b := with.with("ZHONGKONG_LISTEN", freeAddress(t))
			b.t = t
			r := b.start(t.Context(), "", "serve")
			r.says("accounts:")
			later := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_TLS_CERT", "", "ZHONGKONG_TLS_KEY", "")
			for _, text := range []string{
				"", "accounts: [", "listen: here\n", "listen: 127.0.0.1:1\n", "tls_cert: " + another + "\ntls_key: /nowhere\n", "tls_cert: /nowhere\n",
			} {
				later.with("ZHONGKONG_CONFIG", b.file("zk.yaml", text)).must("health")
			}
			later.with("ZHONGKONG_CONFIG", "/nowhere/zk.yaml").must("health")
		})
	}
}

func TestHealthSaysThatItDoesNotKnowWhereServeListens(t *testing.T) {
	b := newBench(t)
	d := b.serve()
	for text, problem := range map[string]string{"": "the file is empty", "accounts: [": "not valid YAML", "listen: here\n": "listen"} {
		broken := b.with("ZHONGKONG_CONFIG", b.file("zk.yaml", text), "ZHONGKONG_LISTEN", "")
		r := broken.fails(exitUsage, "set ZHONGKONG_LISTEN for it and for health, or give the URL: zhongkong health URL", "health")
		if !strings.Contains(r.stderr, problem) {
			t.Errorf("%q: it does not say what is wrong with the file:\n%s", text, r.stderr)
		}
		broken.must("health", d.url)
	}
}

func TestHealthAcceptsAtAURLOurOwnCertificateAndNoOther(t *testing.T) {
	b := newBench(t)
	cert, key := b.certificate("zhongkong.example")
	b = b.with("ZHONGKONG_LISTEN", freeAddress(t), "ZHONGKONG_TLS_CERT", cert, "ZHONGKONG_TLS_KEY", key)
	r := b.start(t.Context(), "", "serve")
	r.says("https://" + b.env["ZHONGKONG_LISTEN"])
	at := "https://" + b.env["ZHONGKONG_LISTEN"]
	b.must("health", at)
	other, _ := b.certificate("zhongkong.example")
	b.with("ZHONGKONG_TLS_CERT", other).fails(exitOther, "x509:", "health", at)
	b.with("ZHONGKONG_TLS_CERT", "").fails(exitOther, "x509:", "health", at)
	b.fails(exitOther, "answered 400", "health", "http://"+b.env["ZHONGKONG_LISTEN"])
}

func TestHealthNeedsNoClientCertificate(t *testing.T) {
	b := newBench(t)
	cert, key := b.certificate("zhongkong.example")
	b = b.with("ZHONGKONG_LISTEN", freeAddress(t), "ZHONGKONG_TLS_CERT", cert, "ZHONGKONG_TLS_KEY", key, "ZHONGKONG_CLIENT_CA", cert)
	r := b.start(t.Context(), "", "serve")
	r.says("https://" + b.env["ZHONGKONG_LISTEN"])
	b.must("health")
}

func TestHealthIsWhatTheAnswerSays(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/zk/healthz" {
			t.Errorf("asked %s", r.URL.Path)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	b := newBench(t)
	b.must("health", server.URL+"/zk/")
	for _, status = range []int{204, 302, 404, 503} {
		b.fails(exitOther, fmt.Sprintf("answered %d", status), "health", server.URL+"/zk")
	}
	if r := b.run("health", strings.Replace(server.URL, "http://", "http://a:hunter2@", 1)+"/zk"); strings.Contains(r.stderr, "hunter2") {
		t.Errorf("the password is shown: %s", r.stderr)
	}
}
