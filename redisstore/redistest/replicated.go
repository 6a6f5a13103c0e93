package redistest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// settleTimeout limits how long servers may take to find each other, or to agree
// on a new master.
const settleTimeout = 30 * time.Second

// MasterName is what the Sentinels call the master.
const MasterName = "zhongkong"

const sentinelConfig = "sentinel.conf"

// Replicated is a master with replicas, and the Sentinels that watch them.
type Replicated struct {
	Servers   []*Server // the first one began as the master
	Sentinels []*Server
}

// StartReplicated starts a master, replicas and Sentinels, and waits until all
// know of each other. The Sentinels notice a dead master after a second. Without
// Sentinels it is plain replication. args go to all servers except Sentinels.
func StartReplicated(t testing.TB, replicas, sentinels int, args ...string) *Replicated {
	t.Helper()
	return start(t, args, func(l Launcher) (*Replicated, error) { return l.Replicated(replicas, sentinels) })
}

// Replicated starts a master, replicas and Sentinels, as StartReplicated does.
func (l Launcher) Replicated(replicas, sentinels int) (*Replicated, error) {
	r := new(Replicated)
	if err := r.launch(l, replicas, sentinels); err != nil {
		r.Kill()
		return nil, err
	}
	return r, nil
}

func (r *Replicated) launch(l Launcher, replicas, sentinels int) error {
	for n := range 1 + replicas {
		args := append([]string{"--repl-diskless-sync-delay 0", "--repl-timeout 5"}, l.Args...)
		if n > 0 {
			args = append(args, fmt.Sprintf("--replicaof 127.0.0.1 %d", r.Servers[0].announcedPort()))
		}
		s, err := l.launch(&Server{Name: fmt.Sprintf("redis%d", n), Args: args})
		if err != nil {
			return err
		}
		r.Servers = append(r.Servers, s)
	}
	if err := r.awaitSync(replicas); err != nil {
		return err
	}
	for n := range sentinels {
		s, err := l.launch(&Server{Name: fmt.Sprintf("sentinel%d", n), sentinel: fmt.Sprintf(
			"bind 127.0.0.1\nloglevel notice\n"+
				"sentinel monitor %[1]s 127.0.0.1 %[2]d %[3]d\n"+
				"sentinel down-after-milliseconds %[1]s 1000\n"+
				"sentinel failover-timeout %[1]s 5000\n",
			MasterName, r.Servers[0].announcedPort(), sentinels/2+1)})
		if err != nil {
			return err
		}
		r.Sentinels = append(r.Sentinels, s)
	}
	return r.awaitDiscovery(replicas, sentinels)
}

// awaitSync waits until the replicas have a copy: a replica that never had one
// cannot be promoted. A replica that is online gets nothing for up to a second more.
func (r *Replicated) awaitSync(replicas int) error {
	return eventually("the replicas are not in sync", func(ctx context.Context) bool {
		info, err := r.Servers[0].Do(ctx, "info", "replication")
		text, _ := info.(string)
		if err != nil || strings.Count(text, "state=online") != replicas {
			return false
		}
		if _, err = r.Servers[0].Do(ctx, "set", "redistest", "in sync", "px", 100); err != nil {
			return false
		}
		for _, s := range r.Servers[1:] {
			if _, err := s.Do(ctx, "get", "redistest"); err != nil {
				return false
			}
		}
		return true
	})
}

// awaitDiscovery waits until each Sentinel knows all others and all replicas.
func (r *Replicated) awaitDiscovery(replicas, sentinels int) error {
	return eventually("the Sentinels do not know each other", func(ctx context.Context) bool {
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

// URL is the announced addresses of the Sentinels in the form that go-redis parses.
func (r *Replicated) URL() string {
	return addrsURL(r.Sentinels, url.Values{"master_name": {MasterName}})
}

// addrsURL is the URL of the first server with the addresses of the others in
// its query.
func addrsURL(servers []*Server, query url.Values) string {
	for _, s := range servers[1:] {
		query.Add("addr", s.announcedAddr())
	}
	return servers[0].URL() + "?" + query.Encode()
}

// Master returns the server that the first Sentinel to answer names as the master.
func (r *Replicated) Master(t testing.TB) *Server {
	t.Helper()
	for _, sentinel := range r.Sentinels {
		if s := r.masterOf(context.Background(), sentinel); s != nil {
			return s
		}
	}
	t.Fatal("redistest: no Sentinel names a master")
	return nil
}

// masterOf returns the server that a Sentinel names as the master, nil if it names
// none of them.
func (r *Replicated) masterOf(ctx context.Context, sentinel *Server) *Server {
	answer, err := sentinel.Do(ctx, "sentinel", "get-master-addr-by-name", MasterName)
	list, _ := answer.([]any)
	if err != nil || len(list) != 2 {
		return nil
	}
	for _, s := range r.Servers {
		if list[1] == strconv.Itoa(s.announcedPort()) {
			return s
		}
	}
	return nil
}

// Failover makes the Sentinels promote a replica and waits until they agree on the
// new master.
func (r *Replicated) Failover(t testing.TB) {
	t.Helper()
	old := r.Master(t)
	// Refused while the previous failover is in progress.
	if err := eventually("the Sentinels do not begin a failover", func(ctx context.Context) bool {
		_, err := r.Sentinels[0].Do(ctx, "sentinel", "failover", MasterName)
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	r.AwaitMasterOtherThan(t, old)
}

// AwaitMasterOtherThan waits until all Sentinels name the same master and it is not
// old.
func (r *Replicated) AwaitMasterOtherThan(t testing.TB, old *Server) {
	t.Helper()
	if err := eventually("the Sentinels do not agree on a new master", func(ctx context.Context) bool {
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
	for _, s := range slices.Concat(r.Sentinels, r.Servers) {
		s.Kill()
	}
}

// eventually polls until ok returns true; failure is the error if that takes longer
// than settleTimeout.
func eventually(failure string, ok func(ctx context.Context) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if ok(ctx) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("redistest: " + failure)
}
