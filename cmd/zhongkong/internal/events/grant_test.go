package events

import (
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
)

func TestWhatHappensToGrantsIsTold(t *testing.T) {
	dead := &coordinator.GrantError{Condition: coordinator.GrantDead}
	for name, c := range map[string]struct {
		o    coordinator.Observation
		want string // "": nothing
	}{
		"dead":      {coordinator.Observation{Kind: coordinator.LostGrant, Account: "crm", Err: dead}, ConsentNeeded},
		"no push":   {coordinator.Observation{Kind: coordinator.LostGrant, Account: "wx", Err: &coordinator.GrantError{Condition: coordinator.GrantNone, Received: true}}, PushMissing},
		"withdrawn": {coordinator.Observation{Kind: coordinator.LostGrant, Account: "wx", Err: &coordinator.GrantError{Condition: coordinator.GrantNone, Withdrawn: true}}, GrantWithdrawn},
		"doubt":     {coordinator.Observation{Kind: coordinator.DoubtedGrant, Account: "crm", Err: &coordinator.GrantError{Condition: coordinator.GrantDoubt}}, GrantDoubt},
		"ending":    {coordinator.Observation{Kind: coordinator.EndingGrant, Account: "crm"}, GrantEnding},
		"restored":  {coordinator.Observation{Kind: coordinator.RestoredGrant, Account: "crm"}, GrantRestored},
		"consented": {coordinator.Observation{Kind: coordinator.ConsentedGrant, Account: "crm"}, GrantConsented},
		"kept":      {coordinator.Observation{Kind: coordinator.KeptGrant, Account: "crm"}, ""},
		"a step":    {coordinator.Observation{Kind: coordinator.Notified, Event: &coordinator.Event{Kind: coordinator.EventGrant, Account: "crm"}}, ""},
	} {
		h := New()
		h.Observe(c.o)
		got := ""
		if recent := h.Recent(1, all); len(recent) > 0 {
			got = recent[0].Type
			if recent[0].Account != c.o.Account {
				t.Errorf("%s: it is told of %q", name, recent[0].Account)
			}
			if c.o.Err != nil && (recent[0].Error != c.o.Err.Error() || recent[0].Grant == "") {
				t.Errorf("%s: %s lacks the condition or what to do", name, recent[0].JSON())
			}
		}
		if got != c.want {
			t.Errorf("%s: told as %q, want %q", name, got, c.want)
		}
	}
}
