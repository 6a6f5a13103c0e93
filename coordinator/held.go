package coordinator

import (
	"time"
	"unique"
)

// held is a record with what follows from it on this machine's clock, in half the room:
// one process may have a million of them. Nothing but the view's install changes it, and
// nothing at all once it is served.
type held struct {
	text       string // the token's characters, "" for none
	Generation Fence
	issuedBy   unique.Handle[string] // records of one instance share it
	attributes map[string]string

	// The record's instants: the first in seconds and nanoseconds since 1970, the
	// others as durations from it.
	issued    int64
	lifetime  time.Duration
	refreshIn time.Duration // noTime: Record.RefreshAt is zero
	nanos     int32
	repeated  bool

	slept     int64   // the clock's count of sleep when it was read
	until     instant // it is withdrawn then
	refreshAt instant // the schedule wants a new one then
}

const noTime time.Duration = -1 << 63

// hold returns r, of which a reading has told now.
func hold(r Record, now instant, slept int64) *held {
	h := &held{
		text: r.Token.Reveal(), Generation: r.Generation, issuedBy: unique.Make(r.IssuedBy), attributes: r.Attributes,
		issued: r.IssuedAt.Unix(), nanos: int32(r.IssuedAt.Nanosecond()), lifetime: r.Lifetime(), refreshIn: noTime, repeated: r.Repeated,
		slept: slept, until: now + instant(r.TTL),
	}
	if !r.RefreshAt.IsZero() {
		h.refreshIn = r.RefreshAt.Sub(r.IssuedAt)
	}
	return h
}

// token returns the token, which shares the characters.
func (h *held) token() Token {
	if h.text == "" {
		return Token{}
	}
	return Token{&h.text}
}

// record returns the record without its TTL.
func (h *held) record() (r Record) {
	h.fill(&r)
	return r
}

// fill makes r the record without its TTL.
func (h *held) fill(r *Record) {
	r.Token, r.Generation, r.IssuedBy = h.token(), h.Generation, h.issuedBy.Value()
	r.Attributes, r.Repeated = h.attributes, h.repeated
	r.IssuedAt = time.Unix(h.issued, int64(h.nanos)).UTC()
	r.ExpiresAt = r.IssuedAt.Add(h.lifetime)
	if h.refreshIn != noTime {
		r.RefreshAt = r.IssuedAt.Add(h.refreshIn)
	}
}
