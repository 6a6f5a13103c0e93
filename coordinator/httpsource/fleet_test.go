package httpsource_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// join starts three processes with one account and returns them, and what stops them.
func join(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) (members []*coordinator.Account, stop func()) {
	t.Helper()
	store := memstore.New()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		c, err := coordinator.New(coordinator.Config{Store: store.Instance(name), ProbeEvery: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		source := withParent{presetSource(t, wire, issuer.Transport())}
		member, err := c.Add(coordinator.AccountConfig{Name: "account", Source: source})
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member)
		running.Go(func() { _ = c.Run(ctx) })
	}
	return members, func() {
		cancel()
		running.Wait()
	}
}

// An issuer that repeats its token replaces it without a word. So a fleet holds a dead
// one until the next question: for less than the 20 s between two looks of the test if
// the answers told the end, else for the 10 minutes after which the preset asks again.
func TestAFleetHoldsALivingTokenForADay(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		const span, step = 26 * time.Hour, 20 * time.Second
		another := presetSource(t, wire, issuer.Transport())
		if _, err := another.Fetch(t.Context(), ask("")); err != nil { // the token has a past
			t.Fatal(err)
		}
		time.Sleep(70 * time.Minute)
		members, stop := join(t, wire, issuer)
		defer stop()
		dead := make(map[string]time.Duration) // for how long one member held it
		for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(step) {
			for n, member := range members {
				token, err := member.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 && !issuer.Valid(token.Reveal()) {
					dead[token.Reveal()] += step
				}
				synctest.Wait()
			}
		}
		for token, held := range dead {
			if held > mayBeLate(wire) {
				t.Errorf("%s was held for %v after its end, want %v at most", token, held, mayBeLate(wire))
			}
		}
		if most := int(span/often(wire, another.Issuer())) + 3; issuer.Calls() > most+1 {
			t.Errorf("%d calls in %v, want %d at most", issuer.Calls()-1, span, most)
		}
	})
}

func mayBeLate(wire httpsourcetest.Wire) time.Duration {
	const step = 20 * time.Second
	switch k := wire.Knobs; {
	case k.Repeat != coordinator.RepeatSame || k.Rollover > 0 || k.Extends:
		return 0
	case k.FullLife:
		return 10*time.Minute + step
	}
	return step
}

// often is how often a preset should ask at least.
func often(wire httpsourcetest.Wire, i *httpsource.Issuer) time.Duration {
	every := time.Duration(i.RefreshEvery)
	if every == 0 {
		every = time.Hour
	}
	if wire.Knobs.Rollover > 0 {
		return wire.Knobs.Life - wire.Knobs.Rollover
	}
	const jitter = 0.9
	return time.Duration(jitter * float64(min(every, wire.Knobs.Life/2)))
}

func TestAFleetReplacesARevokedTokenWithOneCall(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		members, stop := join(t, wire, issuer)
		defer stop()
		token, err := members[0].Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		issuer.Revoke()
		before := issuer.Calls()
		var reporting sync.WaitGroup
		for n := range 60 {
			reporting.Go(func() {
				if got, err := members[n%3].Invalidate(t.Context(), token); err != nil || !issuer.Valid(got.Token.Reveal()) {
					t.Errorf("Invalidate() = a living token: %t, %v", issuer.Valid(got.Token.Reveal()), err)
				}
			})
		}
		reporting.Wait()
		if n := issuer.Calls() - before; n != 1 {
			t.Errorf("%d calls for 60 reports, want 1", n)
		}
	})
}
