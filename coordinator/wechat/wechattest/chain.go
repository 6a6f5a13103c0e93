package wechattest

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Chain is one of the two sequences of tokens of an account, which do not affect each
// other.
type Chain string

// The chains.
const (
	ClassicChain Chain = "token"
	StableChain  Chain = "stable_token"
)

// Cause is the reason why a token becomes invalid.
type Cause string

// The causes.
const (
	CauseExpired    Cause = "expired"
	CauseSuperseded Cause = "superseded"
	CauseKilled     Cause = "killed" // by KillEarly
)

// Issue is a token that the server issued. Times are those of the server's clock.
type Issue struct {
	Seq    int    `json:"seq"` // counts the tokens of the whole server, from 1
	AppID  string `json:"appid"`
	Chain  Chain  `json:"chain"`
	Token  string `json:"access_token"`
	Forced bool   `json:"forced"` // by force_refresh

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
// later change of a knob does not affect them.
func (c *chain) add(i *issued, k Knobs) {
	for n, old := range c.tokens {
		old.end(i.IssuedAt.Add(k.Grace), CauseSuperseded)
		if newer := len(c.tokens) - n; k.GraceGenerations != AllGenerations && newer > k.GraceGenerations {
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
