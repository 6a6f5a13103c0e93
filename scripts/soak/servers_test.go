package main

import (
	"fmt"
	"testing"
	"time"
)

// The faults have to do what they are called, or the soak proves nothing.

func startServers(t *testing.T, kind string) *world {
	t.Helper()
	w := &world{network: newNetwork(newFamily()), ledger: &ledger{}}
	var err error
	w.servers, err = newServers(w.network, kind, t.TempDir(), prefix, account, options{})
	t.Cleanup(w.servers.kill)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestFailoversChangeTheMaster(t *testing.T) {
	for _, kind := range []string{sentinel, cluster} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := startServers(t, kind)
			for name, do := range map[string]func(*world, *server){
				"planned": (*world).plannedFailover,
				"killed": func(w *world, m *server) {
					m.kill()
					time.Sleep(4 * time.Second)
					if err := m.start(); err != nil {
						t.Error(err)
					}
				},
				"partitioned": func(w *world, m *server) { w.isolate(m, 6*time.Second) },
			} {
				old := w.servers.master()
				began := time.Now()
				w.failover(name, do)
				if w.servers.master() == old {
					t.Errorf("%s: the master is still the same after %v", name, time.Since(began))
				}
				t.Logf("%s: well again after %v", name, time.Since(began))
			}
			for _, note := range w.ledger.notes {
				t.Error(note)
			}
		})
	}
}

func TestTheServersClockJumps(t *testing.T) {
	w := &world{network: newNetwork(newFamily())}
	var err error
	w.servers, err = newServers(w.network, single, t.TempDir(), prefix, account, options{fake: true})
	t.Cleanup(w.servers.kill)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []time.Duration{0, time.Hour, -90 * time.Second, 0} {
		if err := w.servers.setClock(offset); err != nil {
			t.Fatal(err)
		}
		answer, err := w.servers.data[0].do("time")
		if err != nil {
			t.Fatal(err)
		}
		var seconds int64
		_, _ = fmt.Sscan(fmt.Sprint(answer.([]any)[0]), &seconds)
		if off := time.Until(time.Unix(seconds, 0)) - offset; off < -2*time.Second || off > 2*time.Second {
			t.Errorf("with the clock at %v the server's is off by %v", offset, off)
		}
	}
}
