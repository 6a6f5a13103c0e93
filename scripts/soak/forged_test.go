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
			w := startServers(t, kind)
			m := w.servers.master()
			for seed := range uint64(20) {
				dice := rand.New(rand.NewPCG(seed, 0))
				for _, f := range forgedFaults() {
					f.strike(w, dice)
				}
			}
			if n := len(w.ledger.spells); n != 20*len(forgedFaults()) {
				t.Errorf("%d forgeries were made", n)
			}
			for _, note := range w.ledger.notes {
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
