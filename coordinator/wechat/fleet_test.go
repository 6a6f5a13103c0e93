package wechat_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// fleet is three processes with the secret on one sandbox, on virtual time.
type fleet struct {
	t       *testing.T
	sandbox *wechattest.Server
	members []*coordinator.Account
}

func inFleet(t *testing.T, kind wechat.Kind, test func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &fleet{t: t, sandbox: wechattest.New(wechattest.Config{Seed: 1})}
		defer f.sandbox.Close()
		store := memstore.New()
		var running sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			c, err := coordinator.New(coordinator.Config{Store: store.Instance(name), ProbeEvery: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			member, err := c.Add(coordinator.AccountConfig{Name: appID, Source: source(t, f.sandbox, kind)})
			if err != nil {
				t.Fatal(err)
			}
			f.members = append(f.members, member)
			running.Go(func() { _ = c.Run(ctx) })
		}
		test(f)
		cancel()
		running.Wait()
	})
}

// work makes a business call from each member every 20 s for d. It returns
// how many of them had a token rejected at first; none may fail in the end.
func (f *fleet) work(d time.Duration) (rejected int) {
	f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Second) {
		for _, member := range f.members {
			reported := &counting{Account: member}
			client := &http.Client{Transport: &wechat.Transport{Account: reported, Base: f.sandbox.Transport()}}
			if body := call(f.t, client, request(f.t, http.MethodGet, apiBase+"/cgi-bin/menu/get", nil)); !strings.Contains(body, "menu") {
				f.t.Fatalf("at %v: %s", time.Now(), body)
			}
			rejected += reported.reports
			synctest.Wait() // the others hear of a new token
		}
	}
	return rejected
}

// counting counts what is reported to an account.
type counting struct {
	wechat.Account
	reports int
}

func (c *counting) Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error) {
	c.reports++
	return c.Account.Invalidate(ctx, rejected)
}

func TestNobodyMeetsADeadTokenWhenTokensRollOver(t *testing.T) {
	for kind, calls := range map[wechat.Kind]struct{ least, most int }{
		wechat.Classic: {12, 13}, // every hour
		wechat.Stable:  {6, 8},   // every 1 h 55 min
	} {
		t.Run(string(kind), func(t *testing.T) {
			inFleet(t, kind, func(f *fleet) {
				if rejected := f.work(12 * time.Hour); rejected != 0 {
					t.Errorf("%d calls met a dead token", rejected)
				}
				if n := len(f.sandbox.Calls()); n < calls.least || n > calls.most {
					t.Errorf("%d calls for tokens in 12 hours, want %d to %d", n, calls.least, calls.most)
				}
			})
		})
	}
}

func TestAFleetRecoversFromARogueWithOneCall(t *testing.T) {
	for _, kind := range []wechat.Kind{wechat.Classic, wechat.Stable} {
		t.Run(string(kind), func(t *testing.T) {
			inFleet(t, kind, func(f *fleet) {
				f.work(10 * time.Minute)
				before := len(f.sandbox.Calls())
				if _, err := f.sandbox.Rogue(appID, wechattest.Chain(kind)); err != nil {
					t.Fatal(err)
				}
				// Less than an hour, lest the schedule call as well.
				if rejected := f.work(30 * time.Minute); rejected != 1 {
					t.Errorf("%d calls met the dead token, want 1: the others hear of the next", rejected)
				}
				if n := len(f.sandbox.Calls()) - before - 1; n != 1 {
					t.Errorf("%d calls after the rogue's, want 1", n)
				}
				if last, _ := f.sandbox.LastIssued(appID); last.From == "203.0.113.66" {
					t.Error("the rogue's token is still the newest")
				}
			})
		})
	}
}

func TestAFleetKeepsItsTokenThroughABadHour(t *testing.T) {
	inFleet(t, wechat.Classic, func(f *fleet) {
		f.work(50 * time.Minute)
		for _, fault := range []wechattest.Fault{
			{Kind: wechattest.FaultErrcode, Code: -1, Times: 3},
			{Kind: wechattest.FaultHTML, Phase: wechattest.Before, Times: 3},
			{Kind: wechattest.FaultHang, Phase: wechattest.Before, Times: 2},
			{Kind: wechattest.FaultNull, Phase: wechattest.Before, Times: 2},
		} {
			inject(f.t, f.sandbox, fault)
		}
		if rejected := f.work(time.Hour); rejected != 0 {
			t.Errorf("%d calls met a dead token", rejected)
		}
		if last, _ := f.sandbox.LastIssued(appID); last.Seq < 2 {
			t.Error("nothing was refreshed")
		}
	})
}

// WeChat's quota of forced refreshes is one of its own: without it, the token is renewed as
// on every other day, and a report that is right brings the token that another has forced.
func TestADayWhoseForcedRefreshesAreUsedUpGoesOn(t *testing.T) {
	inFleet(t, wechat.Stable, func(f *fleet) {
		if err := f.sandbox.Tune(func(k *wechattest.Knobs) { k.ForceDaily = 1 }); err != nil {
			f.t.Fatal(err)
		}
		f.work(10 * time.Minute)
		refresh := func() error {
			ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
			defer cancel()
			_, err := f.members[0].Refresh(ctx)
			return err
		}
		if err := refresh(); err != nil {
			f.t.Fatal(err)
		}
		for range 4 {
			time.Sleep(time.Minute)
			if err := refresh(); err == nil {
				t.Error("a refresh that brought no other token was no failure")
			}
			if rejected := f.work(2 * time.Hour); rejected != 0 {
				t.Errorf("%d calls met a dead token", rejected)
			}
		}
		if _, err := f.sandbox.Rogue(appID, wechattest.StableChain); err != nil {
			f.t.Fatal(err)
		}
		if rejected := f.work(30 * time.Minute); rejected != 1 {
			t.Errorf("%d calls met the dead token, want 1", rejected)
		}
	})
}
