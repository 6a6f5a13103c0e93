package main

import (
	"fmt"
	"testing"
	"time"
)

// The faults have to do what they are called, or the soak proves nothing.

func startServers(t *testing.T, kind string) *testbed {
	t.Helper()
	tb := &testbed{network: newNetwork(newProcessTable()), recorder: &recorder{}}
	var err error
	tb.servers, err = newServers(tb.network, kind, t.TempDir(), options{})
	t.Cleanup(tb.servers.kill)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func TestFailoversChangeTheMaster(t *testing.T) {
	for _, kind := range []string{sentinel, cluster} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tb := startServers(t, kind)
			for name, do := range map[string]func(*testbed, *server){
				"planned": (*testbed).plannedFailover,
				"killed": func(tb *testbed, m *server) {
					m.kill()
					time.Sleep(4 * time.Second)
					if err := m.start(); err != nil {
						t.Error(err)
					}
				},
				"partitioned": func(tb *testbed, m *server) { tb.isolate(m, 6*time.Second) },
			} {
				old := tb.servers.master()
				began := time.Now()
				tb.failover(name, do)
				if tb.servers.master() == old {
					t.Errorf("%s: the master is still the same after %v", name, time.Since(began))
				}
				t.Logf("%s: well again after %v", name, time.Since(began))
			}
			for _, note := range tb.recorder.violations {
				t.Error(note)
			}
		})
	}
}

func TestTheServersClockJumps(t *testing.T) {
	tb := &testbed{network: newNetwork(newProcessTable())}
	var err error
	tb.servers, err = newServers(tb.network, single, t.TempDir(), options{fake: true})
	t.Cleanup(tb.servers.kill)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []time.Duration{0, time.Hour, -90 * time.Second, 0} {
		if err := tb.servers.setClock(offset); err != nil {
			t.Fatal(err)
		}
		answer, err := tb.servers.data[0].do("time")
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
