package httpapi

import (
	"encoding/json"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// responseCache encodes the token of one account, at most once a second.
type responseCache struct {
	account *coordinator.Account
	overlap func(account string) time.Duration // see Directory.Overlap
	reads   accountReads
	last    atomic.Pointer[response]
}

// response is an encoded token. It is immutable and shared by all requests of
// the same second.
type response struct {
	generation coordinator.Fence
	stale      bool
	expiresIn  int64 // seconds
	useFor     int64 // seconds, at most expiresIn; see useFor

	body   []byte
	etag   []string
	length []string // Content-Length

	account string
	reads   *accountReads
	at      int64 // Unix time of the second, for reads: a request need not read the clock
	token   coordinator.Token
	record  coordinator.Record

	prefix []byte // of body, up to the value of expires_in: the same for a generation
	suffix []byte // of body, after the value of stale
	quoted []byte // the token as a JSON string
}

func (c *responseCache) encode(s coordinator.Snapshot) *response {
	expiresIn := max(int64(s.TTL/time.Second), 0)
	last := c.last.Load()
	if last != nil && last.generation == s.Generation && last.stale == s.Stale && last.expiresIn == expiresIn {
		return last
	}
	next := c.next(last, s)
	now := time.Now()
	next.stale, next.expiresIn, next.at = s.Stale, expiresIn, now.Unix()
	next.useFor = min(expiresIn, int64(useFor(c.account.Status(), s.Record, now, c.overlap(c.account.Name()))/time.Second))
	next.body = next.bodyFor(next.useFor)
	next.length = []string{strconv.Itoa(len(next.body))}
	// A goroutine that was overtaken may store an older response. The next
	// request then does not find its own, and encodes again.
	c.last.Store(next)
	return next
}

// next returns a response with the fields that a generation keeps.
func (c *responseCache) next(last *response, s coordinator.Snapshot) *response {
	if last != nil && last.generation == s.Generation {
		copied := *last
		return &copied
	}
	quoted, _ := json.Marshal(s.Token.Reveal()) // encoding a string cannot fail
	prefix := prefixOf(c.account.Name(), quoted, s.Record)
	generation := strconv.FormatUint(uint64(s.Generation), 10)
	return &response{generation: s.Generation, etag: []string{`"` + generation + `"`}, prefix: prefix, suffix: suffixOf(s.Record), quoted: quoted,
		account: c.account.Name(), reads: &c.reads, token: s.Token, record: s.Record}
}

// prefixOf returns the body of a response up to the value of expires_in.
func prefixOf(account string, quoted []byte, s coordinator.Record) []byte {
	name, _ := json.Marshal(account)
	generation := strconv.FormatUint(uint64(s.Generation), 10)
	prefix := append([]byte(`{"name":`), name...)
	prefix = append(append(prefix, `,"access_token":`...), quoted...)
	prefix = append(append(prefix, `,"generation":`...), generation...)
	prefix = append(append(prefix, `,"issued_at":"`...), wire.Time{Time: s.IssuedAt}.String()...)
	prefix = append(append(prefix, `","expires_at":"`...), wire.Time{Time: s.ExpiresAt}.String()...)
	return append(prefix, `","expires_in":`...)
}

// suffixOf returns the body of a response after the value of stale.
func suffixOf(s coordinator.Record) []byte {
	if len(s.Attributes) == 0 {
		return []byte("}\n")
	}
	attributes, _ := json.Marshal(s.Attributes) // encoding strings cannot fail
	return append(append([]byte(`,"attributes":`), attributes...), "}\n"...)
}

// bodyFor returns the body with the given use_for, in seconds.
func (r *response) bodyFor(useFor int64) []byte {
	body := make([]byte, 0, len(r.prefix)+len(`7200,"use_for":3900,"stale":false`)+len(r.suffix))
	body = strconv.AppendInt(append(body, r.prefix...), r.expiresIn, 10)
	body = strconv.AppendInt(append(body, `,"use_for":`...), useFor, 10)
	body = strconv.AppendBool(append(body, `,"stale":`...), r.stale)
	return append(body, r.suffix...)
}

// useForBy returns the seconds for which a caller with the given bounds is told
// that it may keep the token: never more than the token is served.
func (r *response) useForBy(told auth.Told) int64 {
	bounded := told.Bound(time.Duration(r.useFor) * time.Second)
	return min(r.expiresIn, int64(bounded/time.Second))
}

// expiresInFor is useForBy for endpoints that say it as expires_in, and so never less than
// 1: clients take 0 for a token that never ends.
func (r *response) expiresInFor(told auth.Told) int64 { return max(r.useForBy(told), 1) }

// useFor returns for how long a client can use a token without asking again:
// until its planned replacement, and the overlap after that. A forced refresh may
// come earlier; a caller that must survive one is told less than the overlap (see
// auth.Told).
func useFor(status coordinator.Status, r coordinator.Record, now time.Time, overlap time.Duration) time.Duration {
	next := r.TTL
	if !status.NextRefresh.IsZero() {
		next = status.NextRefresh.Sub(now)
	}
	if !r.RefreshAt.IsZero() { // this process looks a little later than that
		next = min(next, r.RefreshAt.Sub(r.IssuedAt)-r.Age())
	}
	if status.OpenAttempts > 0 { // it is being replaced, or may have been
		next = 0
	}
	return max(next, 0) + overlap
}
