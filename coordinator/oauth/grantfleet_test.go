package oauth_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// Three processes live on one refresh token, for days, of an issuer that a profile
// describes. Requests and answers are lost and late at random.
type grantFleet struct {
	t       *testing.T
	issuer  *oauthtest.Server
	store   *memstore.Store
	family  string
	members []*coordinator.Account
	running sync.WaitGroup
	cancel  context.CancelFunc
}

func newGrantFleet(t *testing.T, p oauth.Profile) *grantFleet {
	t.Helper()
	f := &grantFleet{t: t, issuer: newIssuer(), store: memstore.New()}
	f.issuer.Tune(func(k *oauthtest.Knobs) {
		k.Refresh, k.Lifetime, k.Latency = oauthtest.KnobsOf(p), oauthtest.Duration(time.Hour), oauthtest.Duration(300*time.Millisecond)
	})
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	for _, name := range []string{"a", "b", "c"} {
		c, err := coordinator.New(coordinator.Config{Store: f.store.Instance(name), ProbeEvery: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		account, err := c.Add(coordinator.AccountConfig{
			Name: "books", Source: sourceOf(t, presenting(f.issuer, func(c *oauth.Config) { c.Profile = p.Name })),
		})
		if err != nil {
			t.Fatal(err)
		}
		f.members = append(f.members, account)
		f.running.Go(func() { _ = c.Run(ctx) })
	}
	time.Sleep(time.Minute)
	f.consent()
	return f
}

// consent is a person's, who logs in.
func (f *grantFleet) consent() {
	f.t.Helper()
	name, token := f.issuer.Consent(clientID, "read")
	if err := f.members[0].Consent(f.t.Context(), coordinator.Consent{Token: coordinator.NewToken(token)}); err != nil {
		f.t.Fatal(err)
	}
	f.family = name
}

func (f *grantFleet) end() {
	f.cancel()
	f.running.Wait()
}

// check goes through the presentations: a token is presented again only if the issuer
// answers it again, or once, as the last resort.
func (f *grantFleet) check() (lost int) {
	f.t.Helper()
	probes := map[string]int{}
	for _, p := range f.issuer.Presentations("") {
		if p.Outcome == "rotated" && !p.Delivered {
			lost++
		}
		if p.State == "spent" || p.State == "dead" {
			if probes[p.Token]++; probes[p.Token] > 1 {
				f.t.Errorf("%s was presented twice after it was used up: %+v", p.Token, p)
			}
		}
	}
	return lost
}

func TestAFleetLivesOnARefreshTokenOfEachKindOfIssuer(t *testing.T) {
	for _, name := range []string{"xero", "google", "slack"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := oauth.ProfileNamed(name)
				f := newGrantFleet(t, p)
				defer f.end()
				time.Sleep(time.Minute)
				for hour := range 24 {
					for range 4 {
						time.Sleep(15 * time.Minute)
						for i, m := range f.members {
							s, err := m.Current(t.Context())
							if err != nil || !f.issuer.Valid(s.Token.Reveal()) {
								t.Fatalf("hour %d, member %d: %v", hour, i, err)
							}
						}
					}
				}
				f.check()
				if f.issuer.Family(f.family).Dead != "" {
					t.Error(f.issuer.Family(f.family).Dead)
				}
				// As late as is safe: once an hour less 6 minutes.
				if n := len(f.issuer.Presentations("")); p.Replay != "free" && (n < 25 || n > 30) {
					t.Errorf("%d presentations in a day", n)
				}
			})
		})
	}
}

func TestAnIssuerThatDoesNotRefreshEarlyIsAskedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := oauth.ProfileNamed("exact")
		f := newGrantFleet(t, p)
		defer f.end()
		f.issuer.Tune(func(k *oauthtest.Knobs) { k.Lifetime = oauthtest.Duration(10 * time.Minute) })
		time.Sleep(time.Hour) // the first token lives for an hour
		for range 360 {
			time.Sleep(10 * time.Second)
			if s, err := f.members[1].Current(t.Context()); err != nil || !f.issuer.Valid(s.Token.Reveal()) {
				t.Fatalf("%v\n%s", err, lastOf(f))
			}
			s := f.members[1].Status()
			underWay := s.Grant.Condition == coordinator.GrantPresented // the next one comes after its answer
			if in := time.Until(s.NextRefresh); !s.Record.Usable() || in > s.Record.TTL && !underWay {
				t.Fatalf("the record ends in %v, the next refresh comes in %v", s.Record.TTL, in)
			}
		}
		for _, presented := range f.issuer.Presentations("") {
			if presented.Error != "" {
				t.Errorf("%+v", presented)
			}
		}
	})
}

func TestInItsWindowAFleetSurvivesLostAnswers(t *testing.T) {
	for _, name := range []string{"xero", "okta"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := oauth.ProfileNamed(name)
				f := newGrantFleet(t, p)
				defer f.end()
				r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // to be repeated
				time.Sleep(time.Minute)
				for hour := range 48 {
					if fault := []oauthtest.Fault{
						{}, {Kind: "drop"}, {Kind: "drop", Issued: true}, {Kind: "error", Status: 500, Error: "server_error", Issued: true},
						{Kind: "html", Status: 503}, {Kind: "late", Issued: true, After: oauthtest.Duration(time.Duration(r.IntN(90)) * time.Second)},
						{Kind: "truncated"},
					}[r.IntN(7)]; fault.Kind != "" {
						f.issuer.Inject(fault)
					}
					time.Sleep(time.Hour)
					for i, m := range f.members {
						s, err := m.Current(t.Context())
						if err != nil || !f.issuer.Valid(s.Token.Reveal()) {
							t.Fatalf("hour %d, member %d: %v\n%s", hour, i, err, lastOf(f))
						}
					}
				}
				if lost := f.check(); lost < 8 {
					t.Errorf("only %d answers were lost", lost)
				}
				if why := f.issuer.Family(f.family).Dead; why != "" {
					t.Errorf("%s\n%s", why, lastOf(f))
				}
			})
		})
	}
}

func lastOf(f *grantFleet) (text string) {
	all := f.issuer.Presentations("")
	for _, p := range all[max(0, len(all)-8):] {
		text += fmt.Sprintf("%+v\n", p)
	}
	return text
}

func TestWithoutAWindowALostAnswerIsSaidAtOnceAndHealedByALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := oauth.ProfileNamed("salesforce")
		f := newGrantFleet(t, p)
		defer f.end()
		time.Sleep(time.Minute)
		f.issuer.Inject(oauthtest.Fault{Kind: "drop", Issued: true})
		time.Sleep(55 * time.Minute) // the refresh at 54 minutes
		if got := f.members[1].Status().Grant; got == nil || got.Condition != coordinator.GrantDoubt && got.Condition != coordinator.GrantPresented {
			t.Errorf("a minute after the loss: %+v", got)
		}
		s, err := f.members[2].Current(t.Context())
		if err != nil || !f.issuer.Valid(s.Token.Reveal()) {
			t.Fatalf("the access token is not served to its end: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if got := f.members[1].Status().Grant; got == nil || got.Condition != coordinator.GrantDead {
			t.Errorf("after the last resort: %+v\n%s", got, lastOf(f))
		}
		f.check()
		f.consent()
		time.Sleep(time.Minute)
		for i, m := range f.members {
			if s, err := m.Current(t.Context()); err != nil || !f.issuer.Valid(s.Token.Reveal()) {
				t.Errorf("after a login, member %d: %v", i, err)
			}
		}
	})
}

func TestALostRequestCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := oauth.ProfileNamed("salesforce")
		f := newGrantFleet(t, p)
		defer f.end()
		time.Sleep(time.Minute)
		f.issuer.Inject(oauthtest.Fault{Kind: "drop"})
		time.Sleep(2 * time.Hour)
		if s, err := f.members[0].Current(t.Context()); err != nil || !f.issuer.Valid(s.Token.Reveal()) || f.issuer.Family(f.family).Dead != "" {
			t.Errorf("%v\n%s", err, lastOf(f))
		}
		if got := f.members[1].Status().Grant; got == nil || got.Condition != coordinator.GrantGood {
			t.Errorf("%+v", got)
		}
	})
}
