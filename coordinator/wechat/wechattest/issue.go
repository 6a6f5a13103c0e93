package wechattest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

const (
	pathToken  = "/cgi-bin/token"
	pathStable = "/cgi-bin/stable_token"
)

type asking struct {
	GrantType    string `json:"grant_type"`
	AppID        string `json:"appid"`
	Secret       string `json:"secret"`
	ForceRefresh bool   `json:"force_refresh"`
}

type tokenBody struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
}

// token is GET /cgi-bin/token: every call issues a token.
func (s *Server) token(r *request) reply {
	q := asking{GrantType: r.query.Get("grant_type"), AppID: r.query.Get("appid"), Secret: r.query.Get("secret")}
	a, code := s.admit(r, q)
	if code != 0 {
		return s.refuse(r, code)
	}
	return s.give(r, s.mintLocked(a, ClassicChain, r.call, r.now))
}

func (s *Server) dailyToken(a *account) int {
	switch {
	case a.DailyToken > 0:
		return a.DailyToken
	case a.Product == TestAccount:
		return s.knobs.DailyTokenTest
	default:
		return s.knobs.DailyToken
	}
}

// stableToken is POST /cgi-bin/stable_token.
func (s *Server) stableToken(r *request) reply {
	var q asking
	if err := json.Unmarshal(r.body, &q); err != nil {
		q = asking{} // what is not JSON names no appid
	}
	r.call.Forced = q.ForceRefresh
	a, code := s.admit(r, q)
	if code != 0 {
		return s.refuse(r, code)
	}
	if q.ForceRefresh {
		return s.forceStable(r, a)
	}
	if s.knobs.ForceQuotaBlocksNormal && a.stable.forcedToday(r.now) >= s.knobs.ForceDaily {
		return s.refuse(r, codeDailyQuota)
	}
	current := a.stable.current(r.now)
	if current == nil || current.ExpiresAt.Sub(r.now) <= current.earlyRoll(s.knobs) {
		current = s.mintLocked(a, StableChain, r.call, r.now)
	}
	return s.give(r, current)
}

// earlyRoll is the knob of this name, but at most half of the token's lifetime:
// otherwise every call would issue a token if a test shortens the lifetime.
func (i *issued) earlyRoll(k Knobs) time.Duration {
	return min(k.EarlyRoll, i.ExpiresAt.Sub(i.IssuedAt)/2)
}

// forceStable issues a token, but not twice within 30 s: the second call gets the
// token of the first, without an errcode, and is not counted.
func (s *Server) forceStable(r *request, a *account) reply {
	c := &a.stable
	current := c.current(r.now)
	if current != nil && !c.lastForced.IsZero() && r.now.Sub(c.lastForced) < s.knobs.ForceMinInterval {
		return s.give(r, current)
	}
	if c.forcedToday(r.now) >= s.knobs.ForceDaily {
		return s.refuse(r, codeDailyQuota)
	}
	c.forcedCount++
	c.lastForced = r.now
	i := s.mintLocked(a, StableChain, r.call, r.now)
	i.Forced = true
	return s.give(r, i)
}

// forcedToday returns the number of forced refreshes of the day. It resets the count
// on a new day.
func (c *chain) forcedToday(now time.Time) int {
	if day := dayOf(now); day != c.forcedOn {
		c.forcedOn, c.forcedCount = day, 0
	}
	return c.forcedCount
}

// give answers with a token and, like WeChat, without an errcode.
func (s *Server) give(r *request, i *issued) reply {
	r.call.Seq = i.Seq
	left := i.ExpiresAt.Sub(r.now)
	return s.json(r, tokenBody{i.Token, int(left / time.Second)})
}

// admit checks the parameters of a call for a token, in WeChat's order as far as it is
// known, and counts the call. It returns an errcode, or 0.
func (s *Server) admit(r *request, q asking) (*account, int) {
	if q.AppID == "" {
		return nil, codeNoAppID
	}
	a, known := s.accounts[q.AppID]
	switch {
	case !known:
		return nil, codeUnknownAppID
	case a.Product == Platform:
		return nil, codePlatformAccount
	case q.Secret == "":
		return nil, codeNoSecret
	case q.GrantType != "client_credential":
		return nil, codeBadGrantType
	case a.banned != 0:
		return nil, a.banned
	case a.frozen:
		return nil, codeSecretFrozen
	}
	code := a.addressCode(r)
	if !a.hasSecret(q.Secret) && (code == 0 || s.knobs.CheckOrder != IPFirst) {
		code = codeBadSecret
	}
	if code != 0 {
		return nil, code
	}
	return a, s.spend(r, a)
}

// addressCode checks the source address of a call. An address on the whitelist needs
// no confirmation by the administrator.
func (a *account) addressCode(r *request) int {
	list := a.whitelist.at(r.now)
	switch {
	case !lets(list, r.from):
		return codeNotWhitelisted
	case list != nil:
		return 0
	default:
		return a.risk[r.from]
	}
}

// Rogue fetches a token as another party with the same secret does, such as a
// forgotten script. It invalidates the current token as any other call does, and
// returns the new one.
func (s *Server) Rogue(appID string, c Chain) (Issue, error) {
	if c.isTicket() {
		return Issue{}, fmt.Errorf("wechattest: %s is no chain of tokens: another party gets the same ticket", c)
	}
	var got Issue
	err := s.change(appID, func(a *account) error {
		if s.chainOf(a, c) == nil {
			return simulator.NotFound("wechattest: %s has no chain %s", appID, c)
		}
		now := s.nowLocked()
		call := s.newCallLocked(&request{path: "/cgi-bin/" + string(c), appID: appID, from: rogueAddress, userAgent: "rogue"})
		call.Finished, call.Delivered, call.Forced = now, true, c == StableChain
		i := s.mintLocked(a, c, call, now)
		i.Forced = c == StableChain
		got = i.snapshot()
		return nil
	})
	return got, err
}

// rogueAddress belongs to a range for documentation (RFC 5737).
const rogueAddress = "203.0.113.66"
