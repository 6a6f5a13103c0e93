package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// The topologies.
const (
	single   = "single"
	sentinel = "sentinel"
	cluster  = "cluster"
)

// options are how the servers are set up.
type options struct {
	acl  bool // the fleet's users have the least privileges
	tls  bool
	fake bool // the server's clock can be made to jump
}

// servers is the Redis of a run.
type servers struct {
	kind      string
	opts      options
	dir       string
	key       string // of the account; all its keys are on one server
	data      []*server
	sentinels []*server
	ca        string // file, with TLS
	clock     string // file with the offset of the clock, with fake
	offset    time.Duration
	helped    int // how often somebody had to promote a master by hand
}

// Names and passwords of the least-privilege users.
const (
	refresherUser = "zk-refresher"
	readerUser    = "zk-reader"
	userPassword  = "soak"
	monitored     = "soak" // what the sentinels call the master
)

func newServers(n *network, kind, dir, prefix, account string, o options) (*servers, error) {
	t := &servers{kind: kind, opts: o, dir: dir, key: prefix + ":{" + account + "}:token"}
	if o.fake {
		if err := t.makeClock(); err != nil {
			return t, err
		}
	}
	if o.tls {
		if err := t.certify(); err != nil {
			return t, err
		}
	}
	switch kind {
	case single:
		return t, t.launch(n, 1, prefix)
	case sentinel:
		return t, errors.Join(t.launch(n, 3, prefix), t.launchSentinels(n))
	case cluster:
		return t, errors.Join(t.launch(n, 6, prefix), t.join())
	}
	return t, fmt.Errorf("no such topology: %s", kind)
}

func (t *servers) launch(n *network, count int, prefix string) error {
	for i := range count {
		s, err := newServer(n, t.dir, fmt.Sprintf("redis%d", i))
		if err != nil {
			return err
		}
		t.data = append(t.data, s)
		if err := t.configure(s, i, prefix); err != nil {
			return err
		}
		if t.kind == cluster {
			if s.bus, err = newFront(n, s.name); err != nil {
				return err
			}
			s.bus.backend = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port+10000))
			s.args = append(s.args, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
				"--cluster-node-timeout", "1000", "--cluster-announce-ip", "127.0.0.1",
				"--cluster-announce-port", strconv.Itoa(s.front.port), "--cluster-announce-bus-port", strconv.Itoa(s.bus.port))
		}
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

func (t *servers) configure(s *server, i int, prefix string) error {
	s.args = []string{
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "notice", "--dir", s.dir,
		"--repl-diskless-sync-delay", "0", "--repl-timeout", "5", "--repl-ping-replica-period", "1",
		"--enable-debug-command", "yes",
	}
	if t.opts.tls {
		s.connect(&tls.Config{InsecureSkipVerify: true}) // its own server, on loopback
		s.args = append(s.args, "--tls-port", strconv.Itoa(s.port), "--port", "0", "--tls-auth-clients", "no",
			"--tls-cert-file", t.ca, "--tls-key-file", t.ca+".key", "--tls-ca-cert-file", t.ca)
	} else {
		s.args = append(s.args, "--port", strconv.Itoa(s.port))
	}
	if t.kind == sentinel {
		s.args = append(s.args, "--replica-announce-ip", "127.0.0.1", "--replica-announce-port", strconv.Itoa(s.front.port))
		if i > 0 {
			s.args = append(s.args, "--replicaof", "127.0.0.1 "+strconv.Itoa(t.data[0].front.port))
		}
	}
	file := filepath.Join(s.dir, "users.acl")
	s.args = append(s.args, "--aclfile", file)
	if err := os.WriteFile(file, []byte(t.users(prefix)), 0o600); err != nil {
		return err
	}
	if t.opts.fake {
		s.env = []string{"LD_PRELOAD=" + t.clock + ".so", "SOAK_CLOCK=" + t.clock}
	}
	return nil
}

// users is an ACL file: this program, which works past the fronts, is the
// default user, and so is the fleet without acl. Readers may demand refreshes.
func (t *servers) users(prefix string) string {
	var text strings.Builder
	text.WriteString("user default on nopass ~* &* +@all\n")
	for user, role := range map[string]coordinator.Role{
		refresherUser: coordinator.Refresher, refreshingForger: coordinator.Refresher,
		readerUser: coordinator.Reader, readingForger: coordinator.Reader,
	} {
		rules := redisstore.RequiredACL(prefix, role)
		if t.kind == cluster {
			rules = append(rules, redisstore.ClusterACL()...)
		}
		if role == coordinator.Reader {
			rules = append(rules, redisstore.DemandACL(prefix))
		}
		fmt.Fprintf(&text, "user %s on >%s %s\n", user, userPassword, strings.Join(rules, " "))
	}
	return text.String()
}

//go:embed clock/jump.c
var clockSource []byte

// makeClock compiles the clock and sets it right.
func (t *servers) makeClock() error {
	t.clock = filepath.Join(t.dir, "clock")
	source := t.clock + ".c"
	if err := errors.Join(os.WriteFile(source, clockSource, 0o600), t.setClock(0)); err != nil {
		return err
	}
	if said, err := exec.Command("gcc", "-shared", "-fPIC", "-O2", "-o", t.clock+".so", source).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, said)
	}
	return nil
}

// jump has the server's clock jump, ahead or back.
func (t *servers) jump(by time.Duration) error { return t.setClock(t.offset + by) }

// setClock has the server's clock differ from this machine's.
func (t *servers) setClock(offset time.Duration) error {
	t.offset = offset
	file, err := os.OpenFile(t.clock, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(binary.Write(file, binary.NativeEndian, offset.Microseconds()), file.Close())
}

// certify makes a certificate that is its own authority.
func (t *servers) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "soak"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	t.ca = filepath.Join(t.dir, "ca.pem")
	return errors.Join(
		os.WriteFile(t.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(t.ca+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	)
}

// url is the address of the servers for a process of a role.
func (t *servers) url(role coordinator.Role) string {
	scheme, user, query := "redis://", "", ""
	name := readerUser
	if role == coordinator.Refresher {
		name = refresherUser
	}
	if t.opts.tls {
		scheme = "rediss://"
	}
	first := t.data[0]
	switch t.kind {
	case sentinel:
		first = t.sentinels[0]
		query = "?master_name=" + monitored
		for _, s := range t.sentinels[1:] {
			query += "&addr=" + s.front.addr()
		}
		if t.opts.acl {
			query += "&username=" + name + "&password=" + userPassword
		}
		return scheme + first.front.addr() + query
	case cluster:
		for i, s := range t.data[1:] {
			query += "&addr=" + s.front.addr()
			if i == 0 {
				query = "?addr=" + s.front.addr()
			}
		}
	}
	if t.opts.acl {
		user = name + ":" + userPassword + "@"
	}
	return scheme + user + first.front.addr() + query
}

// all are the servers and the sentinels.
func (t *servers) all() []*server { return append(append([]*server(nil), t.data...), t.sentinels...) }

func (t *servers) kill() {
	for _, s := range t.all() {
		s.resume()
		s.kill()
		s.front.shut()
		_ = s.direct.Close()
	}
}
