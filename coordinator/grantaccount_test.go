package coordinator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// A process that has no source for an account, a callback server for example, does not know
// what the issuer does with grants.
func TestAPushToAProcessWithoutTheSourceIsStoredAsAPush(t *testing.T) {
	pushed := coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree, Received: true}
	push := coordinator.Received{Token: coordinator.NewToken("ticket"), Life: 12 * time.Hour}
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Describes.Grant = pushed
		for name, p := range map[string]*process{"runs": f.reader(), "does not run": f.idle(f.config(), nil)} {
			f.store.Flush()
			if err := p.Receive(t.Context(), push); err != nil {
				t.Fatalf("%s: Receive() = %v", name, err)
			}
			if s := f.store.Peek(account); s.Grant == nil || !s.Grant.Received || s.Fence != 0 {
				t.Errorf("%s: after a push the store has %+v and the fence %d, want a pushed grant and no fence", name, s.Grant, s.Fence)
			}
			if err := f.idle(f.config(), nil).Consent(t.Context(), coordinator.Consent{Token: coordinator.NewToken("new ticket")}); err != nil {
				t.Fatalf("Consent() = %v", err)
			}
			if s := f.store.Peek(account); !s.Grant.Received || s.Fence != 0 {
				t.Errorf("%s: after a consent the store has %+v and the fence %d, want a pushed grant and no fence", name, s.Grant, s.Fence)
			}
		}
		f.token(f.refresher(), time.Second)
	})
}

func TestAConsentInAProcessWithoutTheSourceIsStoredAsAConsent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		if err := f.idle(f.config(), nil).Consent(t.Context(), coordinator.Consent{Token: coordinator.NewToken("r0")}); err != nil {
			t.Fatal(err)
		}
		if s := f.store.Peek(account); s.Grant.Received || s.Fence != s.Grant.Consent {
			t.Errorf("the store has %+v and the fence %d, want that of the consent", s.Grant, s.Fence)
		}
	})
}

// Each push would make the attempt under way a superseded one.
func TestAPushIsRefusedWhereTheIssuerPushesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Describes.Grant = coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree}
		err := f.refresher().Receive(t.Context(), coordinator.Received{Token: coordinator.NewToken("ticket"), Life: time.Hour})
		if err == nil || !strings.Contains(err.Error(), "GrantRules.Received") {
			t.Errorf("Receive() = %v, want an error that names GrantRules.Received", err)
		}
		if g := f.store.PeekGrant(account); g.Version != 0 {
			t.Errorf("the store has version %d of a grant", g.Version)
		}
	})
}
