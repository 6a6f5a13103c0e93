package main

import (
	"math/rand/v2"
	"testing"
)

// A forgery that Redis refuses would show nothing.
func TestEveryForgeryIsWithinTheRightsOfWhoMakesIt(t *testing.T) {
	for _, kind := range []string{single, cluster} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tb := startServers(t, kind)
			m := tb.servers.master()
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 0))
				for _, f := range forgedFaults() {
					f.inject(tb, rng)
				}
			}
			if n := len(tb.recorder.disruptions); n != 20*len(forgedFaults()) {
				t.Errorf("%d forgeries were made", n)
			}
			for _, note := range tb.recorder.violations {
				t.Error(note)
			}
			for key, command := range map[string]string{"token": "hlen", "state": "hlen", "attempts": "zcard", "lock": "strlen"} {
				if n, err := m.do(command, keyOf(key)); err != nil || n == int64(0) {
					t.Errorf("%s = %v, %v: nothing was written", keyOf(key), n, err)
				}
			}
			if denied, err := m.do("acl", "log"); err != nil || len(denied.([]any)) > 0 {
				t.Errorf("ACL LOG = %v, %v", denied, err)
			}
		})
	}
}
