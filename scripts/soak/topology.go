package main

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// The topologies.
const (
	single   = "single"
	sentinel = "sentinel"
	cluster  = "cluster"
)

// options describe how the servers are set up.
type options struct {
	acl  bool // the fleet's users have only the rights that they need
	tls  bool
	fake bool // the server's clock can be made to jump
}

// servers is the Redis of a run.
type servers struct {
	kind      string
	opts      options
	dir       string
	prefix    string
	key       string // of the account; all its keys are on one server
	address   string // URL without a user
	data      []*server
	sentinels []*server
	ca        string // file, with TLS
	clock     string // file with the offset of the clock, with fake
	offset    time.Duration
	promoted  int // how often promote was necessary
}

// Names and passwords of the least-privilege users.
const (
	refresherUser = "zk-refresher"
	readerUser    = "zk-reader"
	userPassword  = "soak"
)

func newServers(n *network, kind, dir string, o options) (*servers, error) {
	t := &servers{kind: kind, opts: o, dir: dir, prefix: prefix, key: prefix + ":{" + account + "}:token"}
	l := redistest.Launcher{
		Dir: dir, Prepare: func(s *redistest.Server) error { return t.prepare(n, s) },
		Args: []string{
			"--loglevel notice", "--repl-diskless-sync-delay 0", "--repl-timeout 5", "--repl-ping-replica-period 1",
			"--enable-debug-command yes",
		},
	}
	if o.fake {
		if err := t.makeClock(); err != nil {
			return t, err
		}
	}
	if o.tls {
		authority, err := redistest.OpenAuthority(dir)
		if err != nil {
			return t, err
		}
		args, err := authority.ServerArgs()
		if err != nil {
			return t, err
		}
		t.ca, l.Args = authority.File, append(append(l.Args, args...), "--tls-auth-clients no")
	}
	var err error
	if t.address, err = launch(l, kind); err != nil {
		return t, err
	}
	for _, s := range t.all() {
		s.connect()
	}
	for _, s := range t.sentinels {
		// The next failover of the same master may begin after twice this time.
		if _, err := s.do("sentinel", "set", redistest.MasterName, "failover-timeout", 1500); err != nil {
			return t, err
		}
	}
	return t, t.await()
}

// launch starts the servers of a topology and returns their URL.
func launch(l redistest.Launcher, kind string) (string, error) {
	var servers interface{ URL() string }
	var err error
	switch kind {
	case single:
		servers, err = l.Single()
	case sentinel:
		servers, err = l.Replicated(2, 3)
	case cluster:
		servers, err = l.Cluster()
	default:
		err = fmt.Errorf("unknown topology %q; want single, sentinel or cluster", kind)
	}
	if err != nil {
		return "", err
	}
	return servers.URL(), nil
}

// prepare puts a proxy in front of a server that is about to start.
func (t *servers) prepare(n *network, rs *redistest.Server) error {
	s := &server{Server: rs}
	var err error
	if s.proxy, err = newProxy(n, s.Name, s.Addr); err != nil {
		return err
	}
	s.AnnouncePort = s.proxy.port
	n.processes.add(s.Name, s.PID)
	if s.IsSentinel() {
		t.sentinels = append(t.sentinels, s)
		return nil
	}
	t.data = append(t.data, s)
	if t.kind == cluster {
		if s.bus, err = newProxy(n, s.Name, s.BusAddr); err != nil {
			return err
		}
		s.AnnounceBusPort = s.bus.port
	}
	if t.opts.fake {
		s.Env = []string{"LD_PRELOAD=" + t.clock + ".so", "SOAK_CLOCK=" + t.clock}
	}
	file := filepath.Join(s.Dir(), "users.acl")
	s.Args = append(s.Args, "--aclfile "+file)
	return os.WriteFile(file, []byte(t.users()), 0o600)
}

// users returns an ACL file. This program is the default user, and so is the fleet
// without acl. Readers may demand refreshes.
func (t *servers) users() string {
	var text strings.Builder
	text.WriteString("user default on nopass ~* &* +@all\n")
	for user, role := range map[string]coordinator.Role{
		refresherUser: coordinator.Refresher, refreshingForger: coordinator.Refresher,
		readerUser: coordinator.Reader, readingForger: coordinator.Reader,
	} {
		rules := redisadmin.RequiredACL(t.prefix, role)
		if t.kind == cluster {
			rules = append(rules, redisadmin.ClusterACL()...)
		}
		if role == coordinator.Reader {
			rules = append(rules, redisadmin.DemandACL(t.prefix))
		}
		fmt.Fprintf(&text, "user %s on >%s %s\n", user, userPassword, strings.Join(rules, " "))
	}
	return text.String()
}

//go:embed clock/jump.c
var clockSource []byte

// makeClock compiles the library for the clock, with an offset of zero.
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

// jump moves the server's clock forward or back.
func (t *servers) jump(by time.Duration) error { return t.setClock(t.offset + by) }

// setClock sets the difference between the server's clock and this machine's.
func (t *servers) setClock(offset time.Duration) error {
	t.offset = offset
	file, err := os.OpenFile(t.clock, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(binary.Write(file, binary.NativeEndian, offset.Microseconds()), file.Close())
}

// url returns the URL of the servers for a process of a role.
func (t *servers) url(role coordinator.Role) string {
	if !t.opts.acl {
		return t.address
	}
	name := readerUser
	if role == coordinator.Refresher {
		name = refresherUser
	}
	u, err := url.Parse(t.address)
	if err != nil {
		panic(err) // the test servers made it
	}
	if t.kind != sentinel {
		u.User = url.UserPassword(name, userPassword)
		return u.String()
	}
	query := u.Query() // a user in the URL itself would be the Sentinels'
	query.Set("username", name)
	query.Set("password", userPassword)
	u.RawQuery = query.Encode()
	return u.String()
}

// all returns the servers and the Sentinels.
func (t *servers) all() []*server { return append(append([]*server(nil), t.data...), t.sentinels...) }

func (t *servers) kill() {
	for _, s := range t.all() {
		s.kill()
		if s.direct != nil {
			_ = s.direct.Close()
		}
	}
}
