package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// member is a process with two services, one on each adapter.
type member struct {
	account     *coordinator.Account
	tokenSource *http.Client
	transport   *http.Client
}

const resource = "https://issuer.example.com/oauth2/resource"

// newFleet starts three processes that ask with the sources that source makes.
func newFleet(ctx context.Context, t *testing.T, issuer *oauthtest.Server, source func() coordinator.Source, running *sync.WaitGroup) []member {
	t.Helper()
	store := memstore.New()
	var members []member
	for _, name := range []string{"a", "b", "c"} {
		c, err := coordinator.New(coordinator.Config{Store: store.Instance(name), ProbeEvery: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		s := source()
		cfg := coordinator.AccountConfig{Name: "crm", Source: s}
		if d, ok := s.(coordinator.Described); ok {
			cfg.Limits, cfg.RefreshEvery = d.Description().Limits, d.Description().RefreshEvery
		}
		account, err := c.Add(cfg)
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = c.Run(ctx) })
		client := context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: issuer.Transport()})
		members = append(members, member{
			account:     account,
			tokenSource: oauth2.NewClient(client, oauth.TokenSource(ctx, account)),
			transport: &http.Client{Transport: &oauth.Transport{
				Account: account, Base: issuer.Transport(), Hosts: []string{"issuer.example.com"},
			}},
		})
	}
	return members
}

func statusOf(t *testing.T, client *http.Client) int {
	t.Helper()
	resp, err := client.Get(resource)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// sources are those that the fleet is tried with.
func sources(t *testing.T, issuer *oauthtest.Server) map[string]func() coordinator.Source {
	t.Helper()
	jwt := configured(issuer, func(c *oauth.Config) {
		c.ClientAuth, c.ClientSecret, c.PrivateKey = oauth.PrivateKeyJWT, "", pemOf(t, keyOf("P-256"))
	})
	kills := configured(issuer, func(c *oauth.Config) { c.Repeat = "kills" })
	theirs := &clientcredentials.Config{ClientID: clientID, ClientSecret: secret, TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInHeader}
	return map[string]func() coordinator.Source{
		"keeps":           func() coordinator.Source { return sourceOf(t, configured(issuer)) },
		"kills":           func() coordinator.Source { return sourceOf(t, kills) },
		"private_key_jwt": func() coordinator.Source { return sourceOf(t, jwt) },
		"x/oauth2": func() coordinator.Source {
			return oauth.FromTokenSource(func(ctx context.Context) oauth2.TokenSource {
				return theirs.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: issuer.Transport()}))
			})
		},
	}
}

func TestAServiceOnEachAdapterLivesThroughAForcedRefreshAndADeadToken(t *testing.T) {
	for _, name := range []string{"keeps", "kills", "private_key_jwt", "x/oauth2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := newIssuer(oauthtest.Client{ID: clientID, Secret: secret, Key: keyOf("P-256").Public()})
				if name == "kills" {
					issuer.Tune(func(k *oauthtest.Knobs) { k.Repeat = name })
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				members := newFleet(ctx, t, issuer, sources(t, issuer)[name], &running)
				synctest.Wait()

				all := func(when string) {
					t.Helper()
					for i, m := range members {
						if a, b := statusOf(t, m.tokenSource), statusOf(t, m.transport); a != 200 || b != 200 {
							t.Errorf("%s, member %d: %d by TokenSource, %d by Transport", when, i, a, b)
						}
					}
				}
				calls := func() int { return len(issuer.Calls()) }
				all("at first")
				if n := calls(); n != 1 {
					t.Errorf("%d calls for three cold processes", n)
				}

				time.Sleep(time.Minute)
				if _, err := members[1].account.Refresh(ctx); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				all("after a forced refresh")
				if n := calls(); n != 2 {
					t.Errorf("%d calls after a forced refresh", n)
				}

				time.Sleep(time.Minute)
				issuer.Revoke("")
				var reports sync.WaitGroup
				for i, m := range members {
					reports.Go(func() {
						if got := statusOf(t, m.transport); got != 200 {
							t.Errorf("a dead token, member %d: %d", i, got)
						}
					})
				}
				reports.Wait()
				synctest.Wait()
				all("after a dead token")
				if n := calls(); n != 3 {
					t.Errorf("%d calls after a dead token", n)
				}
				cancel()
				running.Wait()
			})
		})
	}
}

func TestADayOfShortTokensIsWithinTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer()
		issuer.Tune(func(k *oauthtest.Knobs) {
			k.Lifetime, k.Latency = oauthtest.Duration(time.Minute), oauthtest.Duration(300*time.Millisecond)
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		members := newFleet(ctx, t, issuer, sources(t, issuer)["keeps"], &running)
		dead := 0
		for range 24 * 60 {
			time.Sleep(time.Minute)
			for _, m := range members {
				s, err := m.account.Current(ctx)
				if err != nil || !issuer.Valid(s.Token.Reveal()) {
					dead++
				}
			}
		}
		// One every half minute, less the time that the call takes.
		if n := len(issuer.Calls()); dead != 0 || n < 2800 || n > 3200 {
			t.Errorf("%d calls, %d times without a live token", n, dead)
		}
		cancel()
		running.Wait()
	})
}

func TestAFleetLivesThroughABadHourOfItsIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer()
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		members := newFleet(ctx, t, issuer, sources(t, issuer)["keeps"], &running)
		time.Sleep(25 * time.Minute)
		for _, f := range []oauthtest.Fault{
			{Kind: "error", Error: "temporarily_unavailable", Status: 503, Times: 2}, {Kind: "html", Status: 502}, {Kind: "hang"},
			{Kind: "drop", Issued: true}, {Kind: "truncated"}, {Kind: "error", Error: "slow_down", RetryAfter: "20"},
		} {
			issuer.Inject(f)
		}
		for range 60 {
			time.Sleep(time.Minute)
			for i, m := range members {
				if got := statusOf(t, m.tokenSource); got != 200 {
					t.Fatalf("at %v, member %d: %d", time.Now(), i, got)
				}
			}
		}
		if left := issuer.Faults(); len(left) != 0 {
			t.Errorf("faults that nothing met: %v", fmt.Sprint(left))
		}
		cancel()
		running.Wait()
	})
}
