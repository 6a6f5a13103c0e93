package wechattest_test

import (
	"crypto/sha1" //nolint:gosec // WeChat's algorithm
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func (c caller) ticket(token, kind string) answer {
	c.t.Helper()
	return c.do(http.MethodGet, "/cgi-bin/ticket/getticket?type="+kind+"&access_token="+token, "")
}

func TestTickets(t *testing.T) {
	tune := func(t *testing.T, s *wechattest.Server, change func(*wechattest.Knobs)) {
		t.Helper()
		if err := s.Tune(change); err != nil {
			t.Fatal(err)
		}
	}
	inBubble(t, "need a live token", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		old := c.token().Token
		ticket := c.ticket(old, "jsapi").Ticket
		time.Sleep(time.Hour)
		current := c.token().Token
		time.Sleep(10 * time.Minute)
		for token, want := range map[string]int{"": 41001, "x": 40001, old: 40001, ticket: 40001, current: 0} {
			if a := c.ticket(token, "jsapi"); a.Code != want {
				t.Errorf("with %.9s: %+v, want %d", token, a, want)
			}
		}
		time.Sleep(2 * time.Hour)
		if a := c.ticket(current, "jsapi"); a.Code != 42001 {
			t.Errorf("with an expired token: %+v", a)
		}
		if n := len(s.Calls()); n != 2+1+5+1 {
			t.Errorf("%d calls in the history", n)
		}
	})
	t.Run("are of a known type", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		token := c.token().Token
		for _, kind := range []string{"", "token", "JSAPI", "agent_config"} {
			if a := c.ticket(token, kind); a.Code != 40097 {
				t.Errorf("type %q: %+v", kind, a)
			}
		}
		seen := make(map[string]bool)
		for _, kind := range []string{"jsapi", "wx_card", "2", "jsapi", "wx_card", "2"} {
			seen[c.ticket(token, kind).Ticket] = true
		}
		if len(seen) != 3 || seen[""] {
			t.Errorf("the tickets of three types: %v", seen)
		}
		tune(t, s, func(k *wechattest.Knobs) { k.TicketTypeCode = 40039 })
		if a := c.ticket(token, "x"); a.Code != 40039 {
			t.Errorf("%+v", a)
		}
		if a := c.do(http.MethodPost, "/cgi-bin/ticket/getticket?type=jsapi&access_token="+token, ""); !seen[a.Ticket] {
			t.Errorf("by POST: %+v", a)
		}
		if last, _ := s.LastIssued(appID); last.Token != token {
			t.Errorf("LastIssued() = %+v, want the token", last)
		}
	})
	inBubble(t, "last", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		first := c.ticket(c.token().Token, "jsapi")
		time.Sleep(2*time.Hour - time.Second)
		token := c.token().Token
		again := c.ticket(token, "jsapi")
		time.Sleep(time.Second)
		next := c.ticket(token, "jsapi")
		if again.Ticket != first.Ticket || again.ExpiresIn != 7200 || next.Ticket == first.Ticket || len(next.Ticket) != 86 {
			t.Errorf("%+v, %+v, %+v", first, again, next)
		}
		if dead, _ := s.DeadSince(first.Ticket); !dead.Equal(s.Now()) || s.Accepts(first.Ticket, s.Now()) {
			t.Errorf("the first is dead since %v, want now", dead)
		}
		tune(t, s, func(k *wechattest.Knobs) { k.TicketOverlap, k.TicketTTL = time.Hour, 10*time.Minute })
		killed, ok := s.KillEarly(appID, wechattest.JSAPIChain)
		replacement := c.ticket(token, "jsapi")
		if !ok || killed.Token != next.Ticket || replacement.Ticket == next.Ticket || replacement.ExpiresIn != 600 {
			t.Errorf("killed %v %v, replaced by %+v", ok, killed, replacement)
		}
		if dead, _ := s.DeadSince(next.Ticket); dead.Sub(s.Now()) != time.Hour {
			t.Errorf("with an overlap it is dead at %v", dead)
		}
		if dead, _ := s.DeadSince(replacement.Ticket); dead.Sub(s.Now()) != 70*time.Minute {
			t.Errorf("what is not replaced is dead at %v", dead)
		}
	})
	inBubble(t, "and tokens", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		first := c.ticket(c.token().Token, "jsapi").Ticket
		if again := c.ticket(c.token().Token, "jsapi").Ticket; again != first {
			t.Error("a new token changed the ticket")
		}
		tune(t, s, func(k *wechattest.Knobs) { k.TicketFollowsToken = true })
		if again := c.ticket(c.token().Token, "jsapi").Ticket; again == first || s.Accepts(first, s.Now()) {
			t.Error("a new token did not change the ticket")
		}
	})
	t.Run("have a quota", func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.DailyTicket = 2 }))
		token := c.token().Token
		if codes := []int{c.ticket(token, "jsapi").Code, c.ticket(token, "wx_card").Code, c.ticket(token, "jsapi").Code}; !slices.Equal(codes, []int{0, 0, 45009}) {
			t.Errorf("codes %v", codes)
		}
	})
	t.Run("are the same for another party", func(t *testing.T) {
		if _, err := wechattest.New(wechattest.Config{}).Rogue(appID, wechattest.JSAPIChain); err == nil {
			t.Error("a rogue got a ticket of its own")
		}
	})
}

func TestASignatureIsTracedToItsTicket(t *testing.T) {
	s, c := served(t)
	first := c.ticket(c.token().Token, "jsapi").Ticket
	c.must(http.MethodPost, "/sandbox/accounts/"+appID+"/kill", `{"chain":"jsapi"}`, nil)
	second := c.ticket(c.token().Token, "jsapi").Ticket
	card := c.ticket(c.token().Token, "wx_card").Ticket
	sign := func(text string) string {
		sum := sha1.Sum([]byte(text)) //nolint:gosec // WeChat's algorithm
		return hex.EncodeToString(sum[:])
	}
	page := func(ticket string) string {
		const text = "jsapi_ticket=%s&noncestr=n&timestamp=1&url=https://m.example.com/?a"
		return fmt.Sprintf(`"url":"https://m.example.com/?a","noncestr":"n","timestamp":1,"signature":%q`, sign(fmt.Sprintf(text, ticket)))
	}
	for body, want := range map[string]struct {
		ok     bool
		ticket string
	}{
		page(second): {true, second},
		page(second) + `,"appid":"` + appID + `"`: {true, second},
		page(second) + `,"appid":"wxother"`:       {},
		page(first):                               {false, first},
		page("another"):                           {},
		page(card):                                {},
		`"signature":"` + sign("!"+card+"~") + `","card":["~","!"]`:                    {true, card},
		`"signature":"` + sign("!"+card+"~") + `","card":["~","#"]`:                    {},
		page(second) + `,"at":"` + s.Now().Add(-time.Hour).Format(time.RFC3339) + `"`:  {false, second},
		page(second) + `,"at":"` + s.Now().Add(3*time.Hour).Format(time.RFC3339) + `"`: {false, second},
	} {
		var got struct {
			OK      bool
			Message string `json:"errmsg"`
			Known   bool
			Last    bool
			Ticket  string `json:"access_token"`
			DiesAt  string `json:"dies_at"`
		}
		c.must(http.MethodPost, "/sandbox/verify-signature", "{"+body+"}", &got)
		if got.OK != want.ok || got.Ticket != want.ticket || got.Known != (want.ticket != "") || (got.Message == "ok") != want.ok || got.Last != (want.ticket != "" && want.ticket != first) {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
	}
	if status := c.control(http.MethodPost, "/sandbox/verify-signature", `{"sig":1}`, nil); status != http.StatusBadRequest {
		t.Errorf("an unknown field: %d", status)
	}
	var state struct {
		Accounts []struct {
			LastSeq map[string]json.Number `json:"last_seq"`
		}
	}
	if c.must(http.MethodGet, "/sandbox/state", "", &state); state.Accounts[0].LastSeq["jsapi"] == "" {
		t.Errorf("%+v", state)
	}
}
