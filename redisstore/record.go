package redisstore

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unique"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

const (
	// maxFailures is the greatest number of failures in a row that is written. A
	// greater one was not counted by a Store, and is taken as none.
	maxFailures = 1_000_000

	// maxAttempts is how many open attempts are read of an account. A Store leaves
	// no more than a hundred open.
	maxAttempts = 1000
)

// unknownForm is the problem of an answer that is not what a script or a command returns.
const unknownForm = "was answered in a form that this version does not know"

// decoder decodes what a script returned about one account. Other programs may have
// written it, so everything is checked; the first problem is kept as a *DataError. It
// never quotes a value, because that may be a token.
type decoder struct {
	keys layout.AccountKeys
	err  error
}

func (r *decoder) fail(key, field, problem string) {
	if r.err == nil {
		r.err = &DataError{Key: key, Field: field, Problem: problem}
	}
}

// unknown is fail for an answer as a whole.
func (r *decoder) unknown() { r.fail(r.keys.Token, "", unknownForm) }

// text returns v, "" for nil.
func (r *decoder) text(key, field string, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	r.fail(key, field, "has an unexpected type")
	return ""
}

// whole returns v as a whole number from 0 to layout.MaxWhole, 0 for nil.
func (r *decoder) whole(key, field string, v any) int64 {
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(r.text(key, field, v), 10, 64)
	if err != nil || n < 0 || n > layout.MaxWhole {
		r.fail(key, field, "is not a whole number")
		return 0
	}
	return n
}

// count is whole for counters, limited to what an int holds on every platform.
func (r *decoder) count(key, field string, v any) int {
	return int(min(r.whole(key, field, v), math.MaxInt32))
}

// code returns v, an issuer's code. "0" is how older versions write that there is none.
func (r *decoder) code(key, field string, v any) coordinator.Code {
	if text := r.text(key, field, v); text != "0" {
		return coordinator.Code(text)
	}
	return ""
}

// moment returns v, milliseconds, as an instant; the zero Time for nil and 0.
func (r *decoder) moment(key, field string, v any) time.Time {
	if ms := r.whole(key, field, v); ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// instant returns v, an instant in RFC 3339.
func (r *decoder) instant(key, field string, v any) time.Time {
	t, err := time.Parse(time.RFC3339, r.text(key, field, v))
	if err != nil {
		r.fail(key, field, "is not a time such as 2006-01-02T15:04:05.000Z")
	}
	return t.UTC()
}

// list returns v, which must be a list of at least that length.
func (r *decoder) list(v any, atLeast int) []any {
	list, ok := v.([]any)
	if !ok || len(list) < atLeast {
		r.unknown()
		return make([]any, atLeast)
	}
	return list
}

// fence returns v as a fence.
func (r *decoder) fence(key, field string, v any) coordinator.Fence {
	return coordinator.Fence(r.whole(key, field, v))
}

// reading is what was read of one account at one instant, as Redis has answered it.
type reading struct {
	now           time.Time
	token         []any // tokenFields
	ttl           any   // of the token
	state         []any // stateFields
	attempts      any   // with deadlines
	calls         any   // of the day
	lock, lockTTL any
}

// reading decodes the answer of load.lua. A *reading is returned as it is.
func (r *decoder) reading(answer any) *reading {
	if read, ok := answer.(*reading); ok {
		return read
	}
	parts := r.list(answer, 7)
	record := r.list(parts[1], recordFields)
	return &reading{
		now: r.moment(r.keys.Token, "", parts[0]), token: record[:ttlField], ttl: record[ttlField],
		state: r.list(parts[2], len(stateFields)), attempts: parts[3], calls: parts[4], lock: parts[5], lockTTL: parts[6],
	}
}

// stateOf decodes the answer of load.lua, or a *reading. State.Err is what is wrong with it.
func (s *Store) stateOf(account string, r *decoder, answer any) coordinator.State {
	k, read := r.keys, r.reading(answer)
	if r.err == nil {
		s.clock.set(read.now)
	}
	now, fields := read.now, read.state
	state := coordinator.State{
		Account:    account,
		Now:        now,
		Fence:      r.fence(k.State, "fence", fields[0]),
		Open:       r.deadlines(k.Attempts, read.attempts, now),
		Failure:    r.failure(k.State, fields),
		CallsToday: r.calls(read.calls, fields, now),
		Conflicts:  r.count(k.State, "conflicts", fields[3]),
		Grant:      r.grantSummary(k.State, fields[grantField]),
	}
	if value := r.text(k.Lock, "", read.lock); value != "" {
		state.Holder = holder(value)
		state.HolderTTL = lockTTL(read.lockTTL)
	}
	if !state.Fence.Credible(now) {
		state.Fence = 0 // as the scripts take it
	}
	state.Record, state.Err = s.recordOf(account, &decoder{keys: k}, read.token, read.ttl, fields[refreshAtField], now)
	if _, ok := attributes(read.token[attributesField]); !ok {
		r.fail(k.Token, "attributes", "is not a JSON object of texts, of at most 4096 bytes")
	}
	if state.Err == nil {
		state.Err = r.err
	}
	return state
}

// calls decodes the calls in the account's own window, if it has one, else those of the
// day.
func (r *decoder) calls(day any, fields []any, now time.Time) (today int) {
	if day != nil {
		today = r.count(r.keys.Calls+"*", "", day)
	}
	ends, calls := r.moment(r.keys.State, "window_ends", fields[10]), r.count(r.keys.State, "window_calls", fields[11])
	switch {
	case ends.IsZero():
		return today
	case now.Before(ends):
		return calls
	}
	return 0
}

// lockTTL decodes the PTTL of a lock. A lock without a TTL was not set by a Store; it
// is taken to last longer than any lock.
func lockTTL(v any) time.Duration {
	ms, _ := v.(int64)
	if ms == -1 {
		ms = layout.MaxMillis
	}
	return milliseconds(ms)
}

// deadlines decodes ZRANGE WITHSCORES. A score that is not an instant in ms counts as
// a deadline that has passed.
func (r *decoder) deadlines(key string, v any, now time.Time) []time.Time {
	list := r.list(v, 0)
	if len(list) == 0 {
		return nil
	}
	open := make([]time.Time, 0, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		deadline := now
		score, err := strconv.ParseFloat(r.text(key, "", list[i+1]), 64)
		if err == nil && score >= 0 && score <= layout.MaxWhole {
			deadline = time.UnixMilli(int64(score)).UTC()
		}
		open = append(open, deadline)
	}
	slices.SortFunc(open, time.Time.Compare)
	return open
}

// failure decodes the fields of state in the order of load.lua.
func (r *decoder) failure(key string, fields []any) *coordinator.Failure {
	at := r.moment(key, "last_error_at", fields[7])
	if at.IsZero() {
		return nil
	}
	inARow := r.count(key, "failures", fields[1])
	if inARow > maxFailures {
		inARow = 0
	}
	return &coordinator.Failure{
		Kind:       coordinator.FailureKind(r.text(key, "last_error_kind", fields[8])),
		Code:       r.code(key, "last_error_code", fields[6]),
		Message:    r.text(key, "last_error", fields[5]),
		At:         at,
		InARow:     inARow,
		RetryAt:    r.moment(key, "retry_at", fields[2]),
		Credential: r.text(key, "refused_credential", fields[9]),
	}
}

// Indexes in a record as prelude.lua returns it: tokenFields, and these.
const (
	ttlField = iota + 7
	recordRefreshAtField
	recordFields
)

// record decodes a record as prelude.lua returns it; see recordOf.
func (s *Store) record(account string, k layout.AccountKeys, v any, now time.Time) (coordinator.Record, error) {
	r := &decoder{keys: k}
	fields := r.list(v, recordFields)
	return s.recordOf(account, r, fields[:ttlField], fields[ttlField], fields[recordRefreshAtField], now)
}

// recordOf decodes tokenFields, the PTTL of the token, and the time at which it is to be
// replaced. It returns the zero Record if there is none; of a record that cannot be used
// only the generation, if that can be decoded.
func (s *Store) recordOf(account string, r *decoder, fields []any, life, refreshAt any, now time.Time) (coordinator.Record, error) {
	key := r.keys.Token
	if !slices.ContainsFunc(fields[:5], func(f any) bool { return f != nil }) {
		return coordinator.Record{}, r.err
	}
	stored := r.text(key, "access_token", fields[0])
	generation := r.fence(key, "generation", fields[1])
	switch {
	case generation == 0:
		r.fail(key, "generation", "is missing")
	case !generation.Credible(now):
		r.fail(key, "generation", "lies more than a day ahead of the clock of Redis")
		generation = 0
	case stored == "":
		r.fail(key, "access_token", "is missing")
	}
	record := coordinator.Record{
		Generation: generation,
		IssuedAt:   r.instant(key, "issued_at", fields[2]),
		ExpiresAt:  r.instant(key, "expires_at", fields[3]),
		IssuedBy:   instanceName(r.text(key, "issued_by", fields[4])),
		Repeated:   r.text(key, "repeated", fields[6]) == one(true),
	}
	record.Attributes, _ = attributes(fields[attributesField]) // what is wrong with them is in State.Err
	// If it cannot be decoded, the schedule decides.
	if text := r.text(r.keys.State, "refresh_at", refreshAt); text != "" {
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 && ms <= layout.MaxWhole {
			record.RefreshAt = time.UnixMilli(ms).UTC()
		}
	}
	switch life := record.Lifetime(); {
	case life <= 0:
		r.fail(key, "expires_at", "is not after issued_at")
	case life > coordinator.MaxLifetime:
		r.fail(key, "expires_at", "is more than 366 days after issued_at")
	}
	if r.err != nil {
		return coordinator.Record{Generation: generation}, r.err
	}
	record.TTL = ttl(life, record, now)
	var err error
	if record.Token, err = s.open(account, record, stored); err != nil {
		return coordinator.Record{Generation: generation}, err
	}
	return record, nil
}

// attributes decodes the attributes of a record, nil if there are none. ok is false if
// no Store has written them: the token is served without them.
func attributes(v any) (_ map[string]string, ok bool) {
	text, ok := v.(string)
	if text == "" {
		return nil, v == nil || ok
	}
	var attributes map[string]string
	if json.Unmarshal([]byte(text), &attributes) != nil || coordinator.AttributesSize(attributes) > coordinator.MaxAttributes {
		return nil, false
	}
	return attributes, true
}

// attributesText returns attributes as they are stored, "" for none.
func attributesText(attributes map[string]string) string {
	if len(attributes) == 0 {
		return ""
	}
	text, _ := json.Marshal(attributes) // texts can always be encoded
	return string(text)
}

// one returns a truth as it is stored.
func one(is bool) string {
	if is {
		return "1"
	}
	return ""
}

// ttl decodes the PTTL of a record. If it has been removed from the key, the end that
// the source stated applies.
func ttl(v any, r coordinator.Record, now time.Time) time.Duration {
	ms, _ := v.(int64)
	if ms == -1 {
		return max(r.ExpiresAt.Sub(now)-coordinator.Margin(r.Lifetime()), 0)
	}
	return milliseconds(ms)
}

// begun decodes the answer of begin.lua.
func (s *Store) begun(account string, k layout.AccountKeys, answer []any) (coordinator.Attempt, error) {
	r := &decoder{keys: k}
	answer = r.list(answer, 3)
	switch answer[0] {
	case "current":
		record, err := s.record(account, r.keys, answer[2], s.serverNow(r, answer[1]))
		return coordinator.Attempt{Record: record}, err
	case "throttled":
		answer = r.list(answer, 4)
		limit := r.text(k.State, "", answer[2])
		retry := r.whole(k.State, "", answer[3])
		if r.err != nil {
			return coordinator.Attempt{}, r.err
		}
		return coordinator.Attempt{}, throttled(coordinator.Limit(limit), milliseconds(retry))
	case "begun":
		answer = r.list(answer, 7)
		s.serverNow(r, answer[1])
		attempt := coordinator.Attempt{
			Fence:      r.fence(k.State, "fence", answer[2]),
			CallsToday: r.count(k.Calls+"*", "", answer[3]),
			Failures:   r.count(k.State, "failures", answer[4]),
			Conflict:   r.whole(k.State, "conflicts", answer[5]) == 1,
		}
		for _, member := range r.list(answer[6], 0) {
			attempt.Overdue = append(attempt.Overdue, r.fence(k.Attempts, "", member))
		}
		return attempt, r.err
	}
	r.unknown()
	return coordinator.Attempt{}, r.err
}

// storedRecord decodes the answer of commit.lua and restore.lua; the zero
// Record if nothing was stored. Of a record that commit.lua has just stored it says only the
// time: written returns the record.
func (s *Store) storedRecord(account string, answer []any, written func(now time.Time) coordinator.Record) (coordinator.Record, error) {
	r := &decoder{keys: s.keys.Of(account)}
	answer = r.list(answer, 2)
	switch answer[0] {
	case "superseded", "refused":
		return coordinator.Record{}, nil
	case "stored":
		answer = r.list(answer, 3)
		if len(answer) > 3 && answer[3] != nil {
			log, _ := s.logKeys(account, s.shares.Load())
			s.log.Warn("the log in Redis cannot be written; delete the key", "account", account, "key", log, "error", r.text(log, "", answer[3]))
		}
		now := s.serverNow(r, answer[1])
		if answer[2] == nil && written != nil {
			return written(now), r.err
		}
		return s.record(account, r.keys, answer[2], now)
	}
	r.unknown()
	return coordinator.Record{}, r.err
}

// serverNow decodes the server's time in an answer, and sets the clock by it.
func (s *Store) serverNow(r *decoder, v any) time.Time {
	now := r.moment(r.keys.Token, "", v)
	if r.err == nil {
		s.clock.set(now)
	}
	return now
}

// instanceName returns s with characters that all records of the same instance
// share.
func instanceName(s string) string { return unique.Make(s).Value() }
