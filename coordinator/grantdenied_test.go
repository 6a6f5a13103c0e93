package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// grantless is a store that denies this process the grant of one account.
type grantless struct {
	*memstore.Instance
	account string
	denies  atomic.Bool
}

func (s *grantless) LoadGrant(ctx context.Context, name string) (coordinator.GrantReading, error) {
	if name == s.account && s.denies.Load() {
		return coordinator.GrantReading{}, fmt.Errorf("%w: no right to the key", coordinator.ErrDenied)
	}
	return s.Instance.LoadGrant(ctx, name)
}

// A user of Redis may have the rights to the grants of some accounts only, and a caller may
// name any account: what is denied of one grant says nothing of the others.
func TestADeniedGrantIsTheErrorOfItsCallersAlone(t *testing.T) {
	const forbidden = "crm"
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		store := &grantless{Instance: f.store.Instance("p"), account: forbidden}
		store.denies.Store(true)
		c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{
			{Name: account, Source: new(coordinatortest.Source)},
			{Name: forbidden, Source: &grantSource{issuer: f.issuer, gate: new(gate), seen: &sightings{by: map[coordinator.ObservationKind]int{}}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		granted, _ := c.Account(account)
		crm, _ := c.Account(forbidden)
		wantWell := func(when string) {
			t.Helper()
			if err := c.StoreError(); err != nil {
				t.Errorf("%s: StoreError() = %v, want nil", when, err)
			}
			if s, err := granted.Current(t.Context()); err != nil || s.Stale {
				t.Errorf("%s: Current() of the other account = stale %v, %v", when, s.Stale, err)
			}
		}
		wantDenied := func(when string) {
			t.Helper()
			if err := crm.Consent(t.Context(), coordinator.Consent{Token: f.issuer.consent()}); !errors.Is(err, coordinator.ErrDenied) {
				t.Errorf("%s: Consent() = %v, want ErrDenied", when, err)
			}
			wantWell(when + ", after a consent")
			for range 20 { // however the tries of the schedule lie
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if _, err := crm.Token(ctx); !errors.Is(err, coordinator.ErrDenied) || ctx.Err() != nil {
					t.Errorf("%s: Token() = %v, want ErrDenied at once", when, err)
				}
				cancel()
				time.Sleep(1700 * time.Millisecond)
			}
			wantWell(when + ", after a refresh")
		}
		wantDenied("without Run")
		t.Cleanup(c.Start(t.Context()))
		time.Sleep(time.Second)
		wantDenied("with Run")
		if a, err := c.Add(coordinator.AccountConfig{Name: "new", Source: new(coordinatortest.Source)}); err != nil {
			t.Error(err)
		} else if _, err := a.Token(t.Context()); err != nil {
			t.Errorf("Token() of a new account = %v", err)
		}

		store.denies.Store(false) // mended by the operator
		if err := crm.Consent(t.Context(), coordinator.Consent{Token: f.issuer.consent()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if _, err := crm.Token(t.Context()); err != nil {
			t.Errorf("Token() once it is mended = %v", err)
		}
	})
}
