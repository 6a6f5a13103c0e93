package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// maxMessage is how many bytes are kept of a text from outside: a failure's message,
// a caller's name.
const maxMessage = 500

// Begin implements [coordinator.Store]. It is sent once: if the answer is lost, the
// attempt may have been announced.
func (s *Store) Begin(ctx context.Context, account string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	demanded := ""
	if b.Reason.Demanded() {
		demanded = "demanded"
	}
	window, before := b.Limits.Windows()
	if b.Limits.WeChatDays() {
		window, before = 0, 0
	}
	k := s.keys.Of(account)
	answer, err := s.run(ctx, call{
		op: "begin", account: account, script: s.scripts().begin, counts: true, logs: true,
		keys: []string{k.Token, k.State, k.Attempts, k.Calls, k.Log},
		args: withoutLast([]any{
			s.keys.Channel(account, layout.Begun), s.keys.Channel(account, layout.Refreshed), s.instance,
			uint64(b.Seen), string(b.Reason), demanded, atLeastOneMilli(b.TTL), b.Credential,
			b.Limits.PerDay, b.Limits.Reserve, b.Limits.MinInterval.Milliseconds(), b.Pace.Milliseconds(), printable(b.AskedBy),
			window.Milliseconds(), before.Milliseconds(), string(b.Repeat), uint64(b.Overdue),
		}, beginArgs),
	})
	if err != nil {
		return coordinator.Attempt{}, err
	}
	attempt, err := s.begun(account, k, answer)
	if err != nil {
		return coordinator.Attempt{}, fmt.Errorf("begin %q: %w", account, err)
	}
	return attempt, nil
}

// beginArgs and commitArgs are how many arguments these scripts cannot do without.
const beginArgs, commitArgs = 12, 11

// withoutLast returns args without the last ones that are 0 or "", but at least so many:
// each costs Redis half as much as a short command.
func withoutLast(args []any, atLeast int) []any {
	for len(args) > atLeast {
		if last := args[len(args)-1]; last != "" && last != int64(0) && last != uint64(0) {
			break
		}
		args = args[:len(args)-1]
	}
	return args
}

// Commit implements [coordinator.Store]. It waits for Options.Replicas; too few
// confirmations are logged and counted in Stats.Unconfirmed, not returned.
func (s *Store) Commit(ctx context.Context, account string, c coordinator.CommitRequest) (coordinator.Record, error) {
	issued := s.clock.now().Add(-max(c.Age, 0))
	stored, err := s.seal(account, coordinator.Record{
		Token: c.Token, Generation: c.Attempt.Fence, IssuedAt: issued, ExpiresAt: issued.Add(c.Lifetime),
	})
	if err != nil {
		return coordinator.Record{}, fmt.Errorf("commit %q: %w", account, err)
	}
	k := s.keys.Of(account)
	life, age, refresh := atLeastOneMilli(c.Lifetime), max(c.Age, 0).Milliseconds(), max(c.RefreshIn, 0).Milliseconds()
	left := max(life-age-coordinator.Margin(c.Lifetime).Milliseconds(), 1)
	written := attributesText(c.Attributes)
	args := []any{
		s.keys.Channel(account, layout.Refreshed), s.instance, uint64(c.Attempt.Fence), stored,
		life, age, left, refresh, string(c.Reason), c.Took.Milliseconds(), max(c.Calls, 1), printable(c.AskedBy),
		written, one(c.Repeated),
	}
	for _, overdue := range c.Attempt.Overdue {
		args = append(args, uint64(overdue))
	}
	answer, err := s.run(ctx, call{
		op: "commit", account: account, script: s.scripts().commit, counts: true, logs: true,
		keys: []string{k.Token, k.State, k.Attempts, k.Calls}, args: withoutLast(args, commitArgs),
		confirm: s.inReplicas(),
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	r, err := s.storedRecord(account, answer, func(now time.Time) coordinator.Record {
		issued := now.Add(-time.Duration(age) * time.Millisecond)
		r := coordinator.Record{
			Token: c.Token, Generation: c.Attempt.Fence, IssuedAt: issued, ExpiresAt: issued.Add(time.Duration(life) * time.Millisecond), IssuedBy: s.instance,
			TTL: time.Duration(left) * time.Millisecond, Repeated: c.Repeated,
		}
		r.Attributes, _ = attributes(written)
		if refresh > 0 {
			r.RefreshAt = issued.Add(time.Duration(refresh) * time.Millisecond)
		}
		return r
	})
	if err != nil {
		return coordinator.Record{}, fmt.Errorf("commit %q: %w", account, err)
	}
	if r.Generation == 0 {
		return coordinator.Record{}, fmt.Errorf("commit %q: fence %d: %w", account, c.Attempt.Fence, coordinator.ErrSuperseded)
	}
	return r, nil
}

// Fail implements [coordinator.Store].
func (s *Store) Fail(ctx context.Context, account string, f coordinator.FailRequest) error {
	k := s.keys.Of(account)
	_, err := s.run(ctx, call{
		op: "fail", account: account, script: s.scripts().fail, counts: true, logs: true,
		keys: []string{k.Token, k.State, k.Attempts, k.Calls},
		args: []any{
			s.keys.Channel(account, layout.Refreshed), s.instance, uint64(f.Attempt.Fence),
			string(f.Failure.Kind), printable(string(f.Failure.Code)), printable(f.Failure.Message), f.Failure.Credential,
			max(f.RetryIn, 0).Milliseconds(), string(f.Reason), f.Took.Milliseconds(), max(f.Calls, 0), printable(f.AskedBy),
		},
	})
	return err
}

// Restore implements [coordinator.Store]. It waits for Options.Replicas as Commit
// does.
func (s *Store) Restore(ctx context.Context, account string, r coordinator.Record) (coordinator.Record, error) {
	sealed, margin := r, coordinator.Margin(r.Lifetime())
	if end := s.clock.now().Add(r.TTL + margin); end.After(r.ExpiresAt) { // this server's clock is ahead of the lost one's
		sealed.ExpiresAt = end
	}
	stored, err := s.seal(account, sealed)
	if err != nil {
		return coordinator.Record{}, fmt.Errorf("restore %q: %w", account, err)
	}
	refreshAt := int64(0)
	if !r.RefreshAt.IsZero() {
		refreshAt = r.RefreshAt.UnixMilli()
	}
	k := s.keys.Of(account)
	answer, err := s.run(ctx, call{
		op: "restore", account: account, script: s.scripts().restore, logs: true,
		keys: []string{k.Token, k.State, k.Attempts},
		args: []any{
			s.keys.Channel(account, layout.Refreshed), s.instance, uint64(r.Generation), stored,
			r.IssuedAt.UnixMilli(), r.ExpiresAt.UnixMilli(), refreshAt,
			r.TTL.Milliseconds(), margin.Milliseconds(), r.IssuedBy,
			attributesText(r.Attributes), one(r.Repeated),
		},
		confirm: s.inReplicas(),
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	kept, err := s.storedRecord(account, answer, nil)
	if err != nil {
		return coordinator.Record{}, fmt.Errorf("restore %q: %w", account, err)
	}
	return kept, nil
}

// Want implements [coordinator.Store] by publishing; nothing is stored. It does not
// report whether a refresher has received it.
func (s *Store) Want(ctx context.Context, account string, w coordinator.WantRequest) error {
	if err := s.ready(ctx, "want", account); err != nil {
		return err
	}
	text, err := json.Marshal(message{
		Event: string(coordinator.EventWanted), Reason: string(w.Reason), Generation: uint64(w.Seen), By: s.instance, AskedBy: printable(w.AskedBy),
	})
	if err != nil {
		return fmt.Errorf("want %q: %w", account, err)
	}
	_, release, err := s.admit(ctx, 1)
	if err != nil {
		return fmt.Errorf("want %q: %w", account, err)
	}
	defer func() { release(err) }()
	bounded := s.operation(ctx, unconfirmed)
	// On the account's master, like the scripts: a cluster keeps the order of messages
	// only if they are published on one node.
	err = s.client.OnMaster(bounded, s.keys.Of(account).Token, func(client redis.UniversalClient) error {
		return client.Publish(bounded, s.keys.Channel(account, layout.Wanted), text).Err()
	})
	if err = s.fault(ctx, "want", account, err); errors.Is(err, ErrDenied) && !errors.Is(err, coordinator.ErrUnreachable) {
		return fmt.Errorf("%w; a reader may demand a refresh with the rule %s, or, for all accounts, %s",
			err, s.keys.DemandRule(account), s.keys.DemandRule("*"))
	}
	return err
}

// Subscribe implements [coordinator.Store]. Each subscription uses one connection for
// all its accounts.
func (s *Store) Subscribe(w coordinator.Watcher) coordinator.Subscription {
	return newSubscription(s, w)
}

// call is one run of a script that writes.
type call struct {
	op, account string
	script      *redis.Script
	keys        []string
	args        []any
	counts      bool    // keys[callsKey] counts the day's calls; run adds the day
	logs        bool    // it changes something: run adds the keys of the log and the index
	confirm     confirm // what its writes wait for
}

// callsKey is the index of the key of the day's calls.
const callsKey = 3

// on returns the keys for that day.
func (c call) on(day string) []string {
	if !c.counts {
		return c.keys
	}
	keys := slices.Clone(c.keys)
	keys[callsKey] += day
	return keys
}

// run runs a script on the account's master and returns its answer. Only the server
// knows for certain which day it is: a script that was given the key of another day
// does nothing and answers the day, and is run again.
//
// With confirmedOnDisk an error that wraps coordinator.ErrUnconfirmed comes with the
// answer.
func (s *Store) run(ctx context.Context, c call) ([]any, error) {
	if err := s.ready(ctx, c.op, c.account); err != nil {
		return nil, err
	}
	bounded := s.operation(ctx, c.confirm)
	var answer any
	var missing error
	for day := s.day(); day != ""; day = s.otherDay(answer) {
		err := s.withLog(c.account, c.logs, c.on(day), func(keys []string) error {
			return s.client.OnMaster(bounded, keys[0], func(client redis.UniversalClient) (err error) {
				if c.confirm == unconfirmed {
					answer, err = s.runScript(bounded, client, c.script, keys, c.args...).Result()
				} else {
					answer, missing, err = s.runConfirmed(bounded, client, c, keys)
				}
				return err
			})
		})
		if err != nil {
			return nil, s.fault(ctx, c.op, c.account, err)
		}
	}
	list, ok := answer.([]any)
	if !ok {
		list = []any{answer}
	}
	if missing != nil {
		missing = fmt.Errorf("%s %q: %w: %w", c.op, c.account, coordinator.ErrUnconfirmed, missing)
	}
	return list, missing
}

// ready returns why an operation need not be sent.
func (s *Store) ready(ctx context.Context, op, account string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %q: %w", op, account, err)
	}
	return checkAccount(account)
}

func throttled(limit coordinator.Limit, retryIn time.Duration) error {
	return &coordinator.ThrottledError{Limit: limit, RetryIn: retryIn, Until: time.Now().Add(retryIn)}
}

// atLeastOneMilli returns d in milliseconds. The shortest TTL in Redis is one.
func atLeastOneMilli(d time.Duration) int64 { return max(d.Milliseconds(), 1) }

// printable shortens a text from outside and makes it valid UTF-8.
func printable(message string) string {
	if len(message) > maxMessage {
		message = message[:maxMessage] + "..."
	}
	return strings.ToValidUTF8(message, "?")
}
