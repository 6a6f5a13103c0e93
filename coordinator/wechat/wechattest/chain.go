package wechattest

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Chain names one of the two rows of tokens of an account. Neither disturbs
// the other.
type Chain string

// The chains.
const (
	ClassicChain Chain = "token"
	StableChain  Chain = "stable_token"
)

// Cause is why a token ends.
type Cause string

// The causes.
const (
	CauseExpired    Cause = "expired"
	CauseSuperseded Cause = "superseded"
	CauseKilled     Cause = "killed" // by KillEarly
)

// Issue is a token that the server issued. Times are of the server's clock.
type Issue struct {
	Seq    int // counts the tokens of the whole server, from 1
	AppID  string
	Chain  Chain
	Token  string
	Forced bool // by force_refresh

	// Call is the ID of the call that got it, the following are that call's.
	// Finished is zero while it lasts.
	Call              int
	From              string
	Started, Finished time.Time
	Delivered         bool // the answer was given out undamaged

	IssuedAt  time.Time
	ExpiresAt time.Time

	// DiesAt is the instant from which the server does not accept the token,
	// as far as it is known: a later issue can bring it forward.
	DiesAt time.Time
	Cause  Cause
}

// SHA256 returns the token's hash in hexadecimal, by which the control
// interface knows it as well.
func (i Issue) SHA256() string {
	sum := hashOf(i.Token)
	return hex.EncodeToString(sum[:])
}

type tokenHash [sha256.Size]byte

func hashOf(token string) tokenHash { return sha256.Sum256([]byte(token)) }

// issued is an Issue with what the server alone needs. Guarded by Server.mu.
type issued struct {
	Issue
	call       *Call
	usableFrom time.Time // later than IssuedAt by the propagation delay
}

// end brings the token's death forward to at, if that is earlier.
func (i *issued) end(at time.Time, cause Cause) {
	if at.Before(i.DiesAt) {
		i.DiesAt, i.Cause = at, cause
	}
}

// chain is one row of tokens, the newest last. Guarded by Server.mu.
type chain struct {
	tokens      []*issued // from the oldest that may be alive
	lastForced  time.Time
	forcedOn    string // the day that forcedCount is of
	forcedCount int
}

// current is the newest token, if it is not dead yet.
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

// add makes i the newest. The deaths of the others are decided here and now,
// so turning a knob does not rewrite the past.
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

// kill ends the newest token at once.
func (c *chain) kill(now time.Time) (Issue, bool) {
	i := c.current(now)
	if i == nil {
		return Issue{}, false
	}
	i.end(now, CauseKilled)
	return i.Issue, true
}
