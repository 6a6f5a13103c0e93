package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// getForm is one way in which callers ask.
type getForm struct {
	name        string
	secure      bool
	connections int
	fresh       bool   // a new connection for each request
	header      string // one more
	turns       int    // in a round
}

// getForms are the forms. The daemon answers plain requests without net/http, also with a
// header that it does not know; a condition makes a request that is not plain.
var getForms = []getForm{
	{name: "HTTP", connections: httpConnections, turns: 9},
	{name: "HTTP, 1000 connections", connections: 1000, turns: 3},
	{name: "HTTP, a new connection each", connections: httpConnections, fresh: true, turns: 3},
	{name: "HTTP, another header", connections: httpConnections, header: "X-Y: z\r\n", turns: 3},
	{name: "HTTP, a condition", connections: httpConnections, header: "If-None-Match: \"-\"\r\n", turns: 3},
	{name: "TLS", secure: true, connections: httpConnections, turns: 9},
	{name: "TLS, a new connection each", secure: true, connections: httpConnections, fresh: true, turns: 3},
}

// gets measures authenticated GETs of a token, with and without TLS, beside a bare
// handler that writes the same bytes in the same way.
func gets(e *env, r *record) error {
	versions, err := e.inTurn(r)
	if err != nil {
		return err
	}
	certificate, key, err := e.certificate()
	if err != nil {
		return err
	}
	for _, secure := range []bool{false, true} {
		var options []string
		if secure {
			options = []string{"--tls-cert", certificate, "--tls-key", key}
		}
		if err := getsOf(e, r, versions, secure, options); err != nil {
			return err
		}
	}
	return nil
}

// getTarget is a server that answers GETs.
type getTarget struct {
	name, addr string
	pid        int
	conns      []net.Conn
	rates      []float64 // answers in a second of its CPU time, of each turn
}

// getsOf has servers take turns.
func getsOf(e *env, r *record, versions []version, secure bool, options []string) (err error) {
	// The bare handler is the first of the targets: the others are compared with it.
	targets := []*getTarget{nil}
	for _, v := range versions {
		d, err := e.serveAs(serving{program: v.zhongkong, options: options, client: insecureClient()})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.stop()) }()
		targets = append(targets, &getTarget{name: v.name, addr: d.addr, pid: d.cmd.Process.Pid})
		if v.name != theNow {
			continue
		}
		o := order{Role: "bare", Source: d.url}
		if secure {
			o.Certificate, o.Key = options[1], options[3]
		}
		bare, addr, err := spawnServer(o)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, bare.end()) }()
		targets[0] = &getTarget{name: "bare net/http handler", addr: addr, pid: bare.cmd.Process.Pid}
	}
	for _, f := range getForms {
		if f.secure != secure {
			continue
		}
		f.connections, f.turns = e.or(f.connections, 8), e.or(f.turns, 1)
		if err := f.measure(e, targets); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		for _, t := range targets {
			r.add(t.name+", "+f.name, of("requests/cpu-s", median(t.rates)), of("to-bare", median(ratios(t.rates, targets[0].rates))),
				of("peak-MB", peakMemory(t.pid)/1e6))
		}
	}
	return nil
}

func insecureClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a certificate of its own
}

// measure has each of the servers take its turns, after one to warm up.
func (f getForm) measure(e *env, targets []*getTarget) error {
	last := time.Duration(e.or(500, 50)) * time.Millisecond
	for _, t := range targets {
		t.rates = nil
		defer t.close()
		for len(t.conns) < f.connections && !f.fresh {
			c, err := f.connect(t.addr)
			if err != nil {
				return err
			}
			t.conns = append(t.conns, c)
		}
	}
	for turn := range f.turns + 1 {
		for _, t := range targets {
			rate, err := f.turn(t, last)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if turn > 0 {
				t.rates = append(t.rates, rate)
			}
		}
	}
	return nil
}

// connect opens a connection, which is reset when it is closed, so that the machine does
// not run out of ports.
func (f getForm) connect(addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if !f.secure {
		return c, nil
	}
	secured := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a certificate of its own
	if err := secured.Handshake(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return secured, nil
}

func (t *getTarget) close() {
	for _, c := range t.conns {
		_ = c.Close()
	}
	t.conns = nil
}

// turn makes requests for a while, and returns how many a server answers in a second of
// its CPU time.
func (f getForm) turn(t *getTarget, last time.Duration) (rate float64, err error) {
	text := bytes.Replace(request(t.addr, ""), []byte("Accept: */*\r\n"), []byte("Accept: */*\r\n"+f.header), 1)
	var answered atomic.Int64
	errs := make([]error, f.connections)
	before, end := threadsCPU(t.pid), time.Now().Add(last)
	var all sync.WaitGroup
	for i := range f.connections {
		all.Go(func() { // joined below
			for time.Now().Before(end) && errs[i] == nil {
				if errs[i] = f.requests(t, i, text, end, &answered); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	return float64(answered.Load()) / (threadsCPU(t.pid) - before).Seconds(), nil
}

// requests makes requests on one connection: one on a new one, or as many as there is
// time for on one of those that stay open.
func (f getForm) requests(t *getTarget, i int, text []byte, end time.Time, answered *atomic.Int64) error {
	var c net.Conn
	if f.fresh {
		var err error
		if c, err = f.connect(t.addr); err != nil {
			return err
		}
		defer c.Close()
	} else {
		c = t.conns[i]
	}
	for in := bufio.NewReader(c); ; {
		if err := exchange(c, in, text); err != nil {
			return err
		}
		answered.Add(1)
		if f.fresh || !time.Now().Before(end) {
			return nil
		}
	}
}

// certificate writes a certificate for loopback and its key.
func (e *env) certificate() (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(e.dir, "cert.pem"), filepath.Join(e.dir, "key.pem")
	return certFile, keyFile, errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
}
