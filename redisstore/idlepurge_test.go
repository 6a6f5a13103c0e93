package redisstore_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestConnectionsThatWentSilentCostOneTimeout(t *testing.T) {
	server := redistest.Start(t)
	way := redistest.StartForwarder(t, server)
	store := open(t, way.URL(), redisstore.Options{Timeout: 400 * time.Millisecond})
	var all sync.WaitGroup
	for range 40 { // fills the pool
		all.Go(func() {
			for range 20 {
				if _, err := store.Load(t.Context(), "a", "b"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := way.Forget(); n < 3 {
		t.Fatalf("%d connections, want some", n)
	}
	failed := 0
	for ; failed < 20; failed++ {
		if _, err := store.Load(t.Context(), "a"); err == nil {
			break
		}
	}
	if failed > 1 {
		t.Errorf("%d loads timed out in a row, want one at most", failed)
	}
}

// A discarded connection is replaced, and that one is not discarded as well because others
// are replaced at the same time.
func TestEachDiscardedConnectionIsReplacedOnce(t *testing.T) {
	way := redistest.StartForwarder(t, redistest.Start(t))
	store := open(t, way.URL(), redisstore.Options{Timeout: 10 * time.Second})
	crowd(t, store)
	before := way.Count()
	store.Discard()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 200 {
				if _, err := store.Load(t.Context(), "a"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := way.Count() - before; n > 10 {
		t.Errorf("3 goroutines that load have made %d connections after the others were discarded, want one each", n)
	}
}

// readingWatcher reads the account whenever notifications end or begin to flow, as a coordinator
// does.
type readingWatcher struct {
	*recorder
	t     *testing.T
	store *redisstore.Store
}

func (w readingWatcher) Subscribed(accounts []string) {
	w.load("Subscribed")
	w.recorder.Subscribed(accounts)
}

func (w readingWatcher) Lost(err error) {
	w.load("Lost")
	w.recorder.Lost(err)
}

func (w readingWatcher) load(when string) {
	began := time.Now()
	if _, err := w.store.Load(w.t.Context(), "a"); err != nil {
		w.t.Errorf("%s: Load() = %v", when, err)
	}
	if took := time.Since(began); took > 4*time.Second { // of 5 s, after which it is repeated on another connection
		w.t.Errorf("%s: it took %v to read", when, took)
	}
}

// What has silenced the connection of the subscription has silenced the others too. A reading
// on one of them would come too late for what is promised of lost notifications.
func TestWhereTheSubscriptionWentSilentNoOtherConnectionIsUsed(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (url string, ways []*redistest.Forwarder){
		"one server": func(t *testing.T) (string, []*redistest.Forwarder) {
			way := redistest.StartForwarder(t, redistest.Start(t))
			return way.URL(), []*redistest.Forwarder{way}
		},
		"a cluster": func(t *testing.T) (string, []*redistest.Forwarder) {
			nodes, ways, ports := redistest.StartCluster(t).Nodes, []*redistest.Forwarder(nil), []string(nil)
			for _, node := range nodes {
				way := redistest.StartForwarder(t, node)
				_, port, _ := net.SplitHostPort(way.Addr())
				node.MustDo(t, "config", "set", "cluster-announce-port", port)
				ways, ports = append(ways, way), append(ports, port)
			}
			eventually(t, "every node knows the others by their forwarders", patience, func() bool {
				for _, node := range nodes {
					told := fmt.Sprint(node.MustDo(t, "cluster", "nodes"))
					if slices.ContainsFunc(ports, func(port string) bool { return !strings.Contains(told, ":"+port+"@") }) {
						return false
					}
				}
				return true
			})
			return ways[0].URL() + "?addr=" + ways[1].Addr(), ways
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, ways := start(t)
			store := open(t, url, redisstore.Options{PingInterval: 100 * time.Millisecond})
			r := new(recorder)
			sub := store.Subscribe(readingWatcher{r, t, store})
			sub.Add(coordinator.Reader, "a")
			run(t, sub)
			eventually(t, "Subscribed", patience, func() bool { return r.follows(0, "a") })
			before, _, _ := r.counts()
			for _, way := range ways {
				way.Forget()
			}
			eventually(t, "Subscribed again", patience, func() bool { return r.follows(before, "a") })
		})
	}
}
