package redisadmin

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// Entry is a line of the log of an account: what happened, never a token.
type Entry struct {
	At      time.Time
	Event   string // refreshed, failed, superseded, restored, reported, conflict, consented, grant-restored
	By      string // instance
	AskedBy string // who demanded it, see coordinator.WithCaller; "": no caller
	Reason  coordinator.Reason
	Fence   coordinator.Fence       // consented, grant-restored: of the consent
	Took    time.Duration           // refreshed, failed, superseded: the source's time
	Life    time.Duration           // refreshed: of the token; restored: what was left
	Kind    coordinator.FailureKind // failed
	Code    coordinator.Code        // failed: the issuer's
	Error   string                  // failed
	Retry   time.Duration           // failed: the back-off
	Newer   coordinator.Fence       // superseded: by which attempt
	Seen    coordinator.Fence       // reported, conflict: the generation that was reported

	Repeated bool // refreshed: see coordinator.Record
}

// pageOfLog is how many entries of the log of all accounts are read at a time.
const pageOfLog = 1000

// WholeLog is a number of entries that no log has.
const WholeLog = 100_000

// History returns the last n entries of an account's log, the newest first. They are in
// the log of all accounts, which keeps some thousands, or in one of the account's own: in
// a cluster, and until a week after the update from a version that wrote it. Entries that
// cannot be decoded are left out.
func (i Inspector) History(ctx context.Context, account string, n int) ([]Entry, error) {
	if err := i.CheckAccount(account); err != nil {
		return nil, err
	}
	n = max(n, 0)
	own, err := i.logPage(ctx, i.Keys.Of(account).Log, "+", n)
	if err != nil {
		return nil, i.Fault(ctx, "history", account, err)
	}
	shared, err := i.sharedLog(ctx, account, n)
	// A user whose rules name single accounts may not read it: where there are such
	// users, accounts have logs of their own.
	if denied := redis.IsPermissionError(err) && len(own) > 0; err != nil && !denied {
		return nil, i.Fault(ctx, "history", account, err)
	}
	entries := make([]Entry, 0, len(shared)+len(own))
	for _, line := range append(shared, own...) {
		if e, ok := entry(line); ok {
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return b.At.Compare(a.At) })
	return entries[:min(n, len(entries))], nil
}

// sharedLog returns the account's last n entries in the log of all accounts.
func (i Inspector) sharedLog(ctx context.Context, account string, n int) ([]redis.XMessage, error) {
	var found []redis.XMessage
	for from := "+"; len(found) < n; {
		page, err := i.logPage(ctx, i.Keys.SharedLog(), from, pageOfLog)
		if err != nil {
			return nil, err
		}
		for _, line := range page {
			if line.Values["account"] == account {
				found = append(found, line)
			}
		}
		if len(page) < pageOfLog {
			break
		}
		from = "(" + page[len(page)-1].ID
	}
	return found[:min(n, len(found))], nil
}

// logPage returns up to n entries of a log, from an ID backwards.
func (i Inspector) logPage(ctx context.Context, key, from string, n int) ([]redis.XMessage, error) {
	bounded, cancel := i.Client.Bounded(ctx)
	defer cancel()
	lines, err := i.Client.Reads.XRevRangeN(bounded, key, from, "-", int64(n)).Result()
	return lines, i.WrongType(err, key, "stream")
}

func entry(line redis.XMessage) (Entry, bool) {
	ms, _, _ := strings.Cut(line.ID, "-")
	at, err := strconv.ParseInt(ms, 10, 64)
	e := Entry{
		At:      time.UnixMilli(at).UTC(),
		Event:   text(line.Values["event"]),
		By:      text(line.Values["by"]),
		AskedBy: text(line.Values["asked_by"]),
		Reason:  coordinator.Reason(text(line.Values["reason"])),
		Fence:   coordinator.Fence(number(line.Values["fence"])),
		Took:    millis(line.Values["took_ms"]),
		Life:    millis(line.Values["life_ms"]) + millis(line.Values["ttl_ms"]),
		Kind:    coordinator.FailureKind(text(line.Values["kind"])),
		Error:   text(line.Values["error"]),
		Retry:   millis(line.Values["retry_ms"]),
		Newer:   coordinator.Fence(number(line.Values["newer"])),
		Seen:    coordinator.Fence(number(line.Values["generation"])),

		Repeated: text(line.Values["repeated"]) == "1",
	}
	if e.Code = coordinator.Code(text(line.Values["code"])); e.Code == "0" { // as older versions write that there is none
		e.Code = ""
	}
	return e, err == nil && e.Event != ""
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// number is v as a whole number in range, else 0.
func number(v any) int64 {
	n, err := strconv.ParseInt(text(v), 10, 64)
	if err != nil || n < 0 || n > layout.MaxWhole {
		return 0
	}
	return n
}

func millis(v any) time.Duration {
	return time.Duration(min(number(v), layout.MaxMillis)) * time.Millisecond
}
