package redisstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// leftWithin is how long after a failover there may be connections to the demoted
// master: the five seconds of one that was made just before, and then some.
const leftWithin = 7 * time.Second

// pair is a master and its replica behind one address.
type pair struct {
	*redistest.Forwarder
	master, replica *redistest.Server
}

func startPair(t *testing.T) pair {
	t.Helper()
	r := redistest.StartReplicated(t, 1, 0)
	return pair{redistest.StartForwarder(t, r.Servers[0]), r.Servers[0], r.Servers[1]}
}

// failover promotes the replica, demotes the master and moves the address. An
// isolated master learns that it is demoted and hears nothing any more.
func (p pair) failover(t *testing.T, isolated bool) {
	t.Helper()
	p.replica.MustDo(t, "replicaof", "no", "one")
	port := p.replica.Port()
	if isolated {
		port = 1
	}
	p.master.MustDo(t, "replicaof", "127.0.0.1", port)
	p.Point(p.replica)
}

// clients returns how many clients of the server were not made by redistest.
func clients(t *testing.T, s *redistest.Server) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(s.MustDo(t, "client", "list").(string)) {
		if !strings.Contains(line, "cmd=client") && !strings.Contains(line, "flags=M") && !strings.Contains(line, "flags=S") {
			n++
		}
	}
	return n
}

func TestDemotedMasterBehindOneAddressIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		isolated   bool
		parameters string // of the URL
	}{
		"it is a replica of the new one": {isolated: false},
		"it is cut off":                  {isolated: true},
		"it is cut off, in RESP2":        {isolated: true, parameters: "?protocol=2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			p := startPair(t)
			url := p.master.AddUser(t, "reader", append(redisadmin.RequiredACL("", coordinator.Reader), redisadmin.DemandACL(""))...)
			p.replica.AddUser(t, "reader", append(redisadmin.RequiredACL("", coordinator.Reader), redisadmin.DemandACL(""))...)
			url = strings.Replace(url, p.master.Addr(), p.Addr(), 1) + test.parameters
			refresher := open(t, p.URL()+test.parameters, redisstore.Options{})
			refreshed(t, refresher, "a", "token")
			reader := open(t, url, redisstore.Options{})
			_, heard := followed(t, reader, coordinator.Reader, "a")
			_, old := followed(t, refresher, coordinator.Refresher, "a")
			wanted(t, reader, old)
			before, _, _ := heard.counts()
			eventually(t, "the subscriptions know that it is a master", patience, func() bool {
				return strings.Count(p.master.MustDo(t, "client", "list", "type", "normal").(string), "cmd=hello") >= 2
			})

			p.failover(t, test.isolated)
			start := time.Now()
			again := open(t, p.URL(), redisstore.Options{})
			_, asked := followed(t, again, coordinator.Refresher, "a")
			record := refreshed(t, again, "a", "next")
			eventually(t, "the reader is told to read again", leftWithin, func() bool { return heard.follows(before, "a") })
			if err := heard.lastLost(); !errors.Is(err, coordinator.ErrUnreachable) {
				t.Errorf("Lost(%v), want %v", err, coordinator.ErrUnreachable)
			}
			if got := loaded(t, reader, "a").Record.Generation; got != record.Generation {
				t.Errorf("read again, it is generation %d, want %d", got, record.Generation)
			}
			wanted(t, reader, asked)
			record = refreshed(t, again, "a", "last")
			eventually(t, "the reader hears of a refresh", patience, func() bool {
				return heard.saw(coordinator.EventRefreshed, record.Generation)
			})
			eventually(t, "the old refresher is told, too", leftWithin, func() bool { return old.follows(1, "a") })
			refreshed(t, refresher, "a", "by the old one")
			eventually(t, "there is no connection to the demoted master", leftWithin, func() bool { return clients(t, p.master) == 0 })
			t.Logf("it was left after %v", time.Since(start))
			wantNoDenial(t, p.master)
			wantNoDenial(t, p.replica)
		})
	}
}

// wanted has a reader call for a refresher, who must hear of it.
func wanted(t *testing.T, reader *redisstore.Store, refresher *recorder) {
	t.Helper()
	_, _, before := refresher.counts()
	if err := reader.Want(t.Context(), "a", coordinator.WantRequest{Reason: coordinator.ReasonMissing}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the demand is heard", patience, func() bool {
		_, _, now := refresher.counts()
		return now > before
	})
}

func TestWhatIsReadAfterAReconnectIsNotOfTheDemotedMaster(t *testing.T) {
	p := startPair(t)
	reader := open(t, p.URL(), redisstore.Options{})
	_, heard := followed(t, reader, coordinator.Reader, "a")
	crowd(t, reader)
	p.failover(t, true)
	record := refreshed(t, open(t, p.URL(), redisstore.Options{}), "a", "next")
	loaded(t, reader, "a") // from the demoted one, which has not been asked for its role yet
	p.master.MustDo(t, "client", "kill", "type", "pubsub")
	eventually(t, "the reader is told to read again", patience, func() bool { return heard.follows(1, "a") })
	if got := loaded(t, reader, "a").Record.Generation; got != record.Generation {
		t.Errorf("read again, it is generation %d, want %d", got, record.Generation)
	}
}

// Without a subscription each connection of the pools has to find out.
func TestPoolsLeaveADemotedMaster(t *testing.T) {
	p := startPair(t)
	store := open(t, p.URL(), redisstore.Options{})
	crowd(t, store)
	p.failover(t, true)
	start := time.Now()
	record := refreshed(t, open(t, p.URL(), redisstore.Options{}), "a", "next")
	eventually(t, "the new token is read", leftWithin, func() bool {
		return loaded(t, store, "a").Record.Generation == record.Generation
	})
	t.Logf("it was read after %v", time.Since(start))
	crowd(t, store)
	for range 50 {
		if got := loaded(t, store, "a").Record.Generation; got != record.Generation {
			t.Fatalf("then it was generation %d, want %d", got, record.Generation)
		}
	}
}

// An operation of which nothing was sent is repeated on another connection, and so is one
// that waits for its confirmation.
func TestAGrantIsNotLeftToADemotedMaster(t *testing.T) {
	p := startPair(t)
	store := openGrants(t, p.URL(), time.Minute, redisstore.Options{})
	store.AskEvery(time.Nanosecond)
	g := consented(t, store, "a", "r0")
	eventually(t, "the replica has it", patience, func() bool {
		return fmt.Sprint(p.replica.MustDo(t, "hget", grantKey, "save_id")) == g.SaveID
	})
	crowd(t, store)
	p.failover(t, true)
	if err := saveGrant(t, store, "a", g); err != nil {
		t.Errorf("SaveGrant() after a failover = %v", err)
	}
}

// crowd fills the pool.
func crowd(t *testing.T, store *redisstore.Store) {
	t.Helper()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			for range 10 {
				if _, err := store.Load(t.Context(), "a", "b"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestReplicaOnPurposeWorksAndIsToldOnce(t *testing.T) {
	var log logged
	p := startPair(t)
	refresher := open(t, p.master.URL(), redisstore.Options{})
	first := refreshed(t, refresher, "a", "token")
	eventually(t, "the replica has it", patience, func() bool {
		return fmt.Sprint(p.replica.MustDo(t, "exists", "zhongkong:{a}:token")) == "1"
	})
	p.Point(p.replica)
	reader := open(t, p.URL(), redisstore.Options{Logger: log.logger()})
	reader.AskEvery(50 * time.Millisecond)
	_, heard := followed(t, reader, coordinator.Reader, "a")
	for range 3 {
		before := p.Count()
		eventually(t, "it looks where the address leads", patience, func() bool { return p.Count() > before })
		if got := loaded(t, reader, "a").Record.Generation; got != first.Generation {
			t.Errorf("generation %d, want %d", got, first.Generation)
		}
	}
	record := refreshed(t, refresher, "a", "next")
	eventually(t, "Notified", patience, func() bool { return heard.saw(coordinator.EventRefreshed, record.Generation) })
	if subscribed, lost, _ := heard.counts(); subscribed != 1 || lost != 0 {
		t.Errorf("Subscribed was called %d times and Lost %d times, want 1 and 0", subscribed, lost)
	}
	if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "replica") {
		t.Errorf("the log is %q, want one warning", got)
	}

	p.Point(p.master)
	eventually(t, "the master is found", patience, func() bool { return heard.follows(1, "a") })
	_, asked := followed(t, refresher, coordinator.Refresher, "a")
	wanted(t, reader, asked)
	eventually(t, "it is told that it is found", patience, func() bool { return strings.Contains(log.String(), "level=INFO") })
	if _, lost, _ := heard.counts(); lost != 1 {
		t.Errorf("Lost was called %d times, want once", lost)
	}
}

// calls returns how often a command was sent to a server.
func calls(t *testing.T, s *redistest.Server, command string) (n int) {
	t.Helper()
	stats := s.MustDo(t, "info", "commandstats").(string)
	if _, rest, ok := strings.Cut(stats, "cmdstat_"+command+":calls="); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n
}

func TestReplicaThatIsPromotedIsAMaster(t *testing.T) {
	var log logged
	p := startPair(t)
	store := open(t, p.replica.URL(), redisstore.Options{Logger: log.logger()})
	store.AskEvery(50 * time.Millisecond)
	_, heard := followed(t, store, coordinator.Reader, "a")
	eventually(t, "the warning", patience, func() bool { return strings.Contains(log.String(), "level=WARN") })
	p.replica.MustDo(t, "replicaof", "no", "one")
	eventually(t, "the all-clear", patience, func() bool { return strings.Contains(log.String(), "level=INFO") })
	refreshed(t, store, "a", "token")
	if _, lost, _ := heard.counts(); lost > 1 { // once, if the address was looked at before the server was asked
		t.Errorf("Lost was called %d times", lost)
	}
}

func TestServerWithoutHelloIsNotAskedAgain(t *testing.T) {
	t.Run("it speaks RESP2 only", func(t *testing.T) {
		s := redistest.Start(t, "--rename-command HELLO none")
		worksUnasked(t, s.URL(), func() int { return calls(t, s, "ping") })
	})
	t.Run("it takes HELLO at the start of a connection only", func(t *testing.T) {
		var mu sync.Mutex
		var asked, pings int // guarded by mu
		s := miniredis.RunT(t)
		s.Server().SetPreHook(func(_ *server.Peer, cmd string, args ...string) bool {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case cmd == "PING":
				pings++
			case cmd == "HELLO" && len(args) == 0:
				asked++
			}
			return false
		})
		worksUnasked(t, "redis://"+s.Addr(), func() int {
			mu.Lock()
			defer mu.Unlock()
			return pings
		})
		if asked == 0 || asked > 5 { // once for each connection
			t.Errorf("the server was asked %d times", asked)
		}
	})
}

// worksUnasked uses a store for many beats.
func worksUnasked(t *testing.T, url string, pings func() int) {
	t.Helper()
	var log logged
	store := open(t, url, redisstore.Options{PingInterval: 50 * time.Millisecond, Logger: log.logger()})
	store.AskEvery(20 * time.Millisecond)
	_, heard := followed(t, store, coordinator.Refresher, "a")
	for range 5 {
		before := pings()
		eventually(t, "more beats", patience, func() bool { return pings() > before+2 })
		record := refreshed(t, store, "a", "token")
		eventually(t, "Notified", patience, func() bool { return heard.saw(coordinator.EventRefreshed, record.Generation) })
	}
	if subscribed, lost, _ := heard.counts(); subscribed != 1 || lost != 0 {
		t.Errorf("Subscribed was called %d times and Lost %d times, want 1 and 0: %v", subscribed, lost, heard.lastLost())
	}
	if got := log.String(); got != "" {
		t.Errorf("the log is %q, want nothing", got)
	}
}

// logged is what a store has logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
