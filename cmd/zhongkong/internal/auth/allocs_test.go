//go:build !race

package auth

import "testing"

// The race detector makes sync.Pool forget at random.
func TestRememberedPasswordIsCheckedWithoutAllocating(t *testing.T) {
	g := newAuthenticator(t, alice())
	mustEnter(t, g, here, "alice", "open sesame")
	_, _ = g.Authenticate(t.Context(), there, Credentials{"alice", "wrong"}) // a source has a failure
	ctx := t.Context()
	allocs := testing.AllocsPerRun(100, func() { _, _ = g.Authenticate(ctx, here, Credentials{"alice", "open sesame"}) })
	if allocs > 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}
