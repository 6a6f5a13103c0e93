package oauth_test

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

func TestProfilesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range oauth.Profiles() {
		if _, err := oauth.ParseReplay(p.Replay); err != nil || p.Replay == "" {
			t.Errorf("%s: replay: %v", p.Name, err)
		}
		for _, address := range []string{p.TokenURL, p.AuthURL, p.DeviceURL, p.Documentation} {
			if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
				t.Errorf("%s: %s", p.Name, address)
			}
		}
		if seen[p.Name] || p.Title == "" || p.Documentation == "" || p.TokenURL == "" && p.AuthURL != "" {
			t.Errorf("%+v", p)
		}
		seen[p.Name] = true
		if got, known := oauth.ProfileNamed(p.Name); !known || got.Title != p.Title {
			t.Errorf("ProfileNamed(%q) = %+v, %v", p.Name, got, known)
		}
	}
	if _, known := oauth.ProfileNamed("hubspot"); known {
		t.Error("a profile of an issuer of which nothing solid is known")
	}
}

// Each profile is presented to an issuer that does what it says: the source must
// understand its answers, and must declare no more than the issuer grants.
func TestEachProfileFitsTheIssuerThatItDescribes(t *testing.T) {
	for _, p := range oauth.Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer()
				issuer.Tune(func(k *oauthtest.Knobs) {
					k.Refresh = oauthtest.KnobsOf(p)
					k.Lifetime = oauthtest.Duration(10 * time.Minute)
				})
				s := sourceOf(t, presenting(issuer, func(c *oauth.Config) { c.Profile = p.Name }))
				replay, _ := oauth.ParseReplay(p.Replay)
				if got := s.Description().Grant; !got.Needed || got.Replay != replay {
					t.Fatalf("declares %+v", got)
				}
				family, current := issuer.Consent(clientID, "")
				first, rotated := current, false
				for range 3 {
					r := fetch(t, s, ofGrant(current))
					if p.Idle > 0 && r.GrantIdle != p.Idle.Duration() {
						t.Errorf("idle %v", r.GrantIdle)
					}
					if r.RefreshIn > 0 && r.RefreshIn < p.Earliest.Duration() {
						t.Errorf("refresh in %v", r.RefreshIn)
					}
					if p.Earliest > 0 {
						f := failed(t.Context(), t, s, ofGrant(r.Grant.Reveal()))
						if f.Kind != coordinator.FailedLater || r.RefreshIn == 0 {
							t.Errorf("too early: %s, to come in %v", f.Kind, r.RefreshIn)
						}
					}
					// The answer was lost: within its window the token is good once more.
					if replay == coordinator.ReplayFree || replay > 0 {
						time.Sleep(min(replay, time.Hour) * 9 / 10)
						r = fetch(t, s, ofGrant(current))
					}
					if !r.Grant.IsZero() {
						current, rotated = r.Grant.Reveal(), true
					}
					time.Sleep(time.Hour)
				}
				if rotated == (replay == coordinator.ReplayFree) || !issuer.Accepts(current) {
					t.Errorf("rotated: %v, accepted: %v", rotated, issuer.Accepts(current))
				}
				if p.Idle > 0 {
					_, unused := issuer.Consent(clientID, "")
					time.Sleep(p.Idle.Duration())
					if f := failed(t.Context(), t, s, ofGrant(unused)); f.Kind != coordinator.FailedGrant {
						t.Errorf("one that has ended: %s, %v", f.Kind, f)
					}
				}
				if rotated {
					if f := failed(t.Context(), t, s, ofGrant(first)); f.Kind != coordinator.FailedGrant {
						t.Errorf("a used one: %s, %v", f.Kind, f)
					}
				}
				issuer.Withdraw(family)
				if f := failed(t.Context(), t, s, ofGrant(current)); f.Kind != coordinator.FailedGrant {
					t.Errorf("a withdrawn grant: %s, %v", f.Kind, f)
				}
			})
		})
	}
}

func TestAnAccountOverridesItsProfile(t *testing.T) {
	s := sourceOf(t, oauth.Config{Profile: "xero", Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "s", Replay: "never"})
	if s.Description().Grant.Replay != coordinator.ReplayNever {
		t.Errorf("%+v", s.Description())
	}
	s = sourceOf(t, oauth.Config{Profile: "zoho", Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "s"})
	if d := s.Description(); d.Limits.PerDay != 10 || d.Limits.Window != 10*time.Minute || d.Grant.Replay != coordinator.ReplayFree {
		t.Errorf("%+v", d)
	}
}
