package redistest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// settleWithin is how long servers may take to find each other, or to agree
// on a new master.
const settleWithin = 30 * time.Second

// masterName is what the sentinels call the master.
const masterName = "zhongkong"

// Replicated is a master with replicas, watched by sentinels.
type Replicated struct {
	Servers   []*Server // the first one began as the master
	Sentinels []*Server
}

// StartReplicated starts a master, replicas and sentinels, and waits until all
// know of each other. The sentinels need a second to notice a dead master.
// With no sentinels it is plain replication. args go to all servers.
func StartReplicated(t testing.TB, replicas, sentinels int, args ...string) *Replicated {
	t.Helper()
	r, err := LaunchReplicated(t.TempDir(), replicas, sentinels, args...)
	if r != nil {
		t.Cleanup(r.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// LaunchReplicated is StartReplicated for programs that are no tests. What has
// been started must be killed also when there is an error.
func LaunchReplicated(dir string, replicas, sentinels int, args ...string) (*Replicated, error) {
	r := new(Replicated)
	args = append([]string{"--repl-diskless-sync-delay 0", "--repl-timeout 5"}, args...)
	for n := range 1 + replicas {
		own := args
		if n > 0 {
			own = append([]string{"--replicaof 127.0.0.1 " + strconv.Itoa(r.Servers[0].port)}, args...)
		}
		s, err := launchIn(dir, fmt.Sprintf("server%d", n), own...)
		if err != nil {
			return r, err
		}
		r.Servers = append(r.Servers, s)
	}
	if err := r.inSync(replicas); err != nil {
		return r, err
	}
	for n := range sentinels {
		s, err := r.launchSentinel(dir, n, sentinels)
		if err != nil {
			return r, err
		}
		r.Sentinels = append(r.Sentinels, s)
	}
	return r, r.known(replicas, sentinels)
}

// launchIn launches a server in a directory of its own.
func launchIn(dir, name string, args ...string) (*Server, error) {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return Launch(dir, args...)
}

func (r *Replicated) launchSentinel(dir string, n, sentinels int) (*Server, error) {
	s := &Server{dir: filepath.Join(dir, fmt.Sprintf("sentinel%d", n))}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nloglevel warning\n"+
		"sentinel monitor %[3]s 127.0.0.1 %[4]d %[5]d\n"+
		"sentinel down-after-milliseconds %[3]s 1000\n"+
		"sentinel failover-timeout %[3]s 5000\n",
		s.port, s.dir, masterName, r.Servers[0].port, sentinels/2+1)
	if err := s.writeConfig("sentinel.conf", text); err != nil {
		return nil, err
	}
	return s, s.start()
}

// inSync waits until the replicas have a copy: one that never had cannot
// become the master.
func (r *Replicated) inSync(replicas int) error {
	return eventually("the replicas are not in sync", func(ctx context.Context) bool {
		info, err := r.Servers[0].Do(ctx, "info", "replication")
		text, _ := info.(string)
		return err == nil && strings.Count(text, "state=online") == replicas
	})
}

// known waits until each sentinel knows all others and all replicas.
func (r *Replicated) known(replicas, sentinels int) error {
	return eventually("the sentinels do not know each other", func(ctx context.Context) bool {
		for _, s := range r.Sentinels {
			info, err := s.Do(ctx, "info", "sentinel")
			text, _ := info.(string)
			if err != nil || !strings.Contains(text, fmt.Sprintf("slaves=%d,sentinels=%d", replicas, sentinels)) {
				return false
			}
		}
		return true
	})
}

// URL is the address of the sentinels as go-redis takes it.
func (r *Replicated) URL() string {
	query := url.Values{"master_name": {masterName}}
	for _, s := range r.Sentinels[1:] {
		query.Add("addr", s.Addr())
	}
	return "redis://" + r.Sentinels[0].Addr() + "?" + query.Encode()
}

// Master returns the server that the sentinels take for the master.
func (r *Replicated) Master(t testing.TB) *Server {
	t.Helper()
	for _, sentinel := range r.Sentinels {
		if s := r.masterOf(context.Background(), sentinel); s != nil {
			return s
		}
	}
	t.Fatal("redistest: the sentinels know no master")
	return nil
}

// masterOf returns the master in the eyes of one sentinel, nil if it does not
// say.
func (r *Replicated) masterOf(ctx context.Context, sentinel *Server) *Server {
	answer, err := sentinel.Do(ctx, "sentinel", "get-master-addr-by-name", masterName)
	list, _ := answer.([]any)
	if err != nil || len(list) != 2 {
		return nil
	}
	for _, s := range r.Servers {
		if list[1] == strconv.Itoa(s.port) {
			return s
		}
	}
	return nil
}

// Failover makes the sentinels promote a replica, as an operator does, and
// waits until they have agreed.
func (r *Replicated) Failover(t testing.TB) {
	t.Helper()
	old := r.Master(t)
	// Refused while the sentinels are busy with the failover before.
	if err := eventually("the sentinels do not begin a failover", func(ctx context.Context) bool {
		_, err := r.Sentinels[0].Do(ctx, "sentinel", "failover", masterName)
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	r.AwaitMasterOtherThan(t, old)
}

// AwaitMasterOtherThan waits until all sentinels name the same other master.
func (r *Replicated) AwaitMasterOtherThan(t testing.TB, old *Server) {
	t.Helper()
	if err := eventually("the sentinels do not agree on a new master", func(ctx context.Context) bool {
		master := r.masterOf(ctx, r.Sentinels[0])
		for _, sentinel := range r.Sentinels[1:] {
			if r.masterOf(ctx, sentinel) != master {
				return false
			}
		}
		return master != nil && master != old
	}); err != nil {
		t.Fatal(err)
	}
}

// Kill ends all processes.
func (r *Replicated) Kill() {
	for _, s := range append(r.Sentinels, r.Servers...) {
		s.Kill()
	}
}

// eventually polls until ok; what says what did not happen.
func eventually(what string, ok func(ctx context.Context) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	for ctx.Err() == nil {
		if ok(ctx) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("redistest: " + what)
}
