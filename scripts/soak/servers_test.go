package main

import (
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
