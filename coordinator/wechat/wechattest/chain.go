package wechattest

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Chain is one of the sequences of tokens, or of tickets, of an account, which do not
// affect each other.
type Chain string

// The chains of tokens.
const (
	ClassicChain Chain = "token"
	StableChain  Chain = "stable_token"

	// AuthorizerChain is the tokens of an account that a platform gets. One account has one
	// such chain for each platform that it has authorized.
	AuthorizerChain Chain = "authorizer"
)

// ComponentChain is the component_access_tokens of a platform. The interfaces of accounts
// do not take them.
const ComponentChain Chain = "component"

// The chains of tickets, by their type.
const (
	JSAPIChain Chain = "jsapi"
	CardChain  Chain = "wx_card"
	AppChain   Chain = "2" // of the SDK for apps
)

func (c Chain) isToken() bool {
	return c == ClassicChain || c == StableChain || c == AuthorizerChain
}

func (c Chain) isTicket() bool { return !c.isToken() && c != ComponentChain }

// Cause is the reason why a token becomes invalid.
type Cause string

// The causes.
const (
	CauseExpired    Cause = "expired"
	CauseSuperseded Cause = "superseded"
	CauseKilled     Cause = "killed" // by KillEarly

	CauseReauthorized Cause = "reauthorized" // the account authorized the platform again, or no longer does
)

// Issue is a token or a ticket that the server issued. Times are those of the server's clock.
type Issue struct {
	Seq    int    `json:"seq"` // counts the tokens and tickets of the whole server, from 1
	AppID  string `json:"appid"`
	Chain  Chain  `json:"chain"`
	Token  string `json:"access_token"` // or the ticket
	Forced bool   `json:"forced"`       // by force_refresh

	// Call is the ID of the call that issued it; the following fields are that
	// call's. Finished is zero while it is in progress.
	Call      int       `json:"call"`
	From      string    `json:"from"`
	Started   time.Time `json:"-"`
	Finished  time.Time `json:"-"`
	Delivered bool      `json:"delivered"` // the answer was sent undamaged

	IssuedAt  time.Time `json:"-"`
	ExpiresAt time.Time `json:"-"`

	// DiesAt is the instant from which the token is invalid. A later Issue can move
	// it forward.
	DiesAt time.Time `json:"-"`
	Cause  Cause     `json:"cause"`
}

// SHA256 returns the token's hash in hexadecimal, which Lookup and the control
// interface accept in place of the token.
func (i Issue) SHA256() string {
	sum := hashOf(i.Token)
	return hex.EncodeToString(sum[:])
}

type tokenHash [sha256.Size]byte

func hashOf(token string) tokenHash { return sha256.Sum256([]byte(token)) }

// issued is an Issue with the server's private fields. Guarded by Server.mu.
type issued struct {
	Issue
	call       *Call
	usableFrom time.Time // IssuedAt plus the propagation delay
	retired    bool      // a ticket that the next call replaces before it expires
}

// end makes the token invalid from at on, if it would otherwise be valid for longer.
func (i *issued) end(at time.Time, cause Cause) {
	if at.Before(i.DiesAt) {
		i.DiesAt, i.Cause = at, cause
	}
}

// chain is the tokens of one Chain, the newest last. Guarded by Server.mu.
type chain struct {
	tokens      []*issued // from the oldest that may be valid
	lastForced  time.Time
	forcedOn    string // the day of forcedCount
	forcedCount int
}

// current returns the newest token, nil if it is invalid.
func (c *chain) current(now time.Time) *issued {
	if len(c.tokens) == 0 {
		return nil
	}
	newest := c.tokens[len(c.tokens)-1]
	if !now.Before(newest.DiesAt) {
		return nil
	}
	return newest
}

// add makes i the newest token. It decides now when the others become invalid, so a
// later change of a knob does not affect them: at most generations of them stay valid,
// for grace.
func (c *chain) add(i *issued, grace time.Duration, generations int) {
	for n, old := range c.tokens {
		old.end(i.IssuedAt.Add(grace), CauseSuperseded)
		if newer := len(c.tokens) - n; generations != AllGenerations && newer > generations {
			old.end(i.IssuedAt, CauseSuperseded)
		}
	}
	for len(c.tokens) > 0 && !i.IssuedAt.Before(c.tokens[0].DiesAt) {
		c.tokens = c.tokens[1:]
	}
	c.tokens = append(c.tokens, i)
}

// kill makes the newest token invalid at once.
func (c *chain) kill(now time.Time) (Issue, bool) {
	i := c.current(now)
	if i == nil {
		return Issue{}, false
	}
	i.end(now, CauseKilled)
	return i.Issue, true
}
