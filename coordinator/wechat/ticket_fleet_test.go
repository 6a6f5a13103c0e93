package wechat_test

import (
	"context"
	"errors"
	"math/rand/v2"
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

const ticketName = appID + ".jsapi"

// ticketFleet is three processes with a ticket of one account, on virtual time.
type ticketFleet struct {
	t       *testing.T
	sandbox *wechattest.Server
	tickets []*coordinator.Account // one of each process
	pages   wechat.Pages
}

func inTicketFleet(t *testing.T, test func(f *ticketFleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &ticketFleet{t: t, sandbox: wechattest.New(wechattest.Config{Seed: 1}), pages: pages(t, "m.example.com")}
		defer f.sandbox.Close()
		store := memstore.New()
		var running sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			c, err := coordinator.New(coordinator.Config{Store: store.Instance(name), PollEvery: 4 * time.Minute, ProbeEvery: 4 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Add(coordinator.AccountConfig{Name: appID, Source: source(t, f.sandbox, wechat.Classic)}); err != nil {
				t.Fatal(err)
			}
			ticket, err := c.Add(coordinator.AccountConfig{
				Name: ticketName, Source: ticketSource(t, f.sandbox.Transport(), wechat.JSAPI), Parent: appID,
			})
			if err != nil {
				t.Fatal(err)
			}
			f.tickets = append(f.tickets, ticket)
			running.Go(func() { _ = c.Run(ctx) })
		}
		test(f)
		cancel()
		running.Wait()
	})
}

// sign has each process sign a page, and returns for how long the ticket that was dead
// for the longest was dead; 0: all were valid.
func (f *ticketFleet) sign() (late time.Duration) {
	f.t.Helper()
	const page = "https://m.example.com/?from=timeline"
	for _, account := range f.tickets {
		ticket, err := account.Token(f.t.Context())
		if err != nil {
			f.t.Fatalf("at %v: %v", time.Now(), err)
		}
		signed, err := f.pages.Sign(appID, ticket, page+"#top")
		if err != nil {
			f.t.Fatal(err)
		}
		issue, ok := f.sandbox.SignedWith(wechattest.Signed{
			AppID: appID, URL: page, NonceStr: signed.NonceStr, Timestamp: signed.Timestamp, Signature: signed.Signature,
		})
		if !ok {
			f.t.Fatalf("at %v: WeChat never issued the ticket of a signature", time.Now())
		}
		late = max(late, time.Since(issue.DiesAt))
	}
	return late
}

// calls returns how many calls an interface had.
func (f *ticketFleet) calls(path string) (n int) {
	for _, c := range f.sandbox.Calls() {
		if c.Path == path {
			n++
		}
	}
	return n
}

const (
	getToken  = "/cgi-bin/token"
	getTicket = "/cgi-bin/ticket/getticket"
)

// WeChat replaces a ticket early without a word and, here, without any overlap. Nothing
// reports the dead one: a page that fails does so in a browser. The access_token dies
// early as well, which only the call for a ticket notices.
func TestATicketThatIsReplacedEarlyIsServedForTenMinutesAtMost(t *testing.T) {
	const days, reask = 30, 10 * time.Minute
	inTicketFleet(t, func(f *ticketFleet) {
		random := rand.New(rand.NewPCG(1, 2))
		var replaced, dead int
		var worst time.Duration
		end := time.Now().Add(days * 24 * time.Hour)
		nextReplaced := time.Now()
		for time.Now().Before(end) {
			if late := f.sign(); late > 0 {
				dead++
				worst = max(worst, late)
			}
			time.Sleep(time.Second + time.Duration(random.Int64N(int64(5*time.Minute))))
			if time.Now().After(nextReplaced) {
				if _, ok := f.sandbox.KillEarly(appID, wechattest.JSAPIChain); ok {
					replaced++
				}
				if replaced%8 == 0 {
					f.sandbox.KillEarly(appID, wechattest.ClassicChain)
				}
				nextReplaced = time.Now().Add(time.Duration(random.Int64N(int64(5 * time.Hour))))
			}
		}
		t.Logf("%d replaced early, the worst signature with a ticket that was dead for %v, %d calls", replaced, worst, f.calls(getTicket))
		if worst > reask {
			t.Errorf("a signature was made with a ticket that was dead for %v, want at most %v", worst, reask)
		}
		if replaced < 250 || dead < 250 {
			t.Errorf("%d tickets were replaced early, and %d signatures were made with a dead one: too few to show anything", replaced, dead)
		}
		if n := f.calls(getTicket); n > days*170 {
			t.Errorf("%d calls for tickets in %d days, want at most 170 a day", n, days)
		}
		if n := f.calls(getToken); n > days*26 {
			t.Errorf("%d calls for tokens in %d days, want at most 26 a day", n, days)
		}
	})
}

// 400 callers of each process report the same dead ticket.
func TestAReportBringsTheNextTicketAtOnce(t *testing.T) {
	inTicketFleet(t, func(f *ticketFleet) {
		f.sign()
		time.Sleep(time.Minute)
		killed, _ := f.sandbox.KillEarly(appID, wechattest.JSAPIChain)
		before := f.calls(getTicket)
		var reports sync.WaitGroup
		for range 400 {
			for _, account := range f.tickets {
				reports.Go(func() {
					s, err := account.Invalidate(f.t.Context(), coordinator.NewToken(killed.Token))
					if err != nil || s.Token.Reveal() == killed.Token {
						t.Errorf("Invalidate() = %v, %v", s, err)
					}
				})
			}
		}
		reports.Wait()
		if n := f.calls(getTicket) - before; n != 1 {
			t.Errorf("%d calls after 1200 reports, want 1", n)
		}
		if late := f.sign(); late > 0 {
			t.Errorf("a signature was made with a ticket that was dead for %v", late)
		}
	})
}

// The call for a ticket finds out that the access_token is dead, has it replaced and
// asks again: one call for a token in the fleet, and no ticket that is late.
func TestADeadAccessTokenIsReplacedForItsTicket(t *testing.T) {
	inTicketFleet(t, func(f *ticketFleet) {
		f.sign()
		time.Sleep(time.Minute)
		f.sandbox.KillEarly(appID, wechattest.ClassicChain)
		f.sandbox.KillEarly(appID, wechattest.JSAPIChain)
		time.Sleep(9 * time.Minute)
		if late := f.sign(); late > 0 {
			t.Errorf("a signature was made with a ticket that was dead for %v", late)
		}
		if tokens, tickets := f.calls(getToken), f.calls(getTicket); tokens != 2 || tickets != 3 {
			t.Errorf("%d calls for tokens and %d for tickets, want 2 and 3", tokens, tickets)
		}
	})
}

// An account that is refused has its ticket refused for that reason, without a call.
func TestATicketOfARefusedAccountIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := wechattest.New(wechattest.Config{})
		if err := sandbox.Freeze(appID); err != nil {
			t.Fatal(err)
		}
		c, err := coordinator.New(coordinator.Config{Store: memstore.New(), Accounts: []coordinator.AccountConfig{
			{Name: appID, Source: source(t, sandbox, wechat.Stable)},
			{Name: ticketName, Source: ticketSource(t, sandbox.Transport(), wechat.JSAPI), Parent: appID},
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = c.Run(ctx) })
		_, err = c.Token(ctx, ticketName)
		var parent *coordinator.ParentError
		if !errors.As(err, &parent) || parent.Parent != appID || !strings.Contains(err.Error(), "frozen") {
			t.Errorf("Token() = %v, want a *ParentError that says why", err)
		}
		for _, call := range sandbox.Calls() {
			if call.Path == getTicket {
				t.Error("the ticket was asked for")
			}
		}
		cancel()
		running.Wait()
	})
}

// WeChat says two hours whenever it is asked. While it cannot be asked, a ticket must
// not be believed to live on.
func TestALifeThatIsRepeatedIsNotBelieved(t *testing.T) {
	inTicketFleet(t, func(f *ticketFleet) {
		f.sign()
		time.Sleep(110 * time.Minute) // asked again about 12 times
		inject(f.t, f.sandbox, onTicket(wechattest.Fault{Kind: wechattest.FaultReset, Phase: wechattest.Before}))
		for end := time.Now().Add(9 * time.Minute); time.Now().Before(end); time.Sleep(time.Minute) {
			f.sign()
		}
		time.Sleep(10 * time.Minute)
		for _, account := range f.tickets {
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
			if ticket, err := account.Token(ctx); err == nil {
				t.Errorf("a ticket is served after its two hours: accepted %v", f.sandbox.Accepts(ticket.Reveal(), time.Now()))
			}
			cancel()
		}
	})
}
