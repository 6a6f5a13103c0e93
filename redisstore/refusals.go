package redisstore

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Refusal is something that this package uses and that the server, or a proxy in
// front of it, refuses to everybody. What the user's rules do not allow is not
// one: MissingACL finds that.
type Refusal struct {
	Of  RefusedUse
	Err error // with the server's words
}

// RefusedUse is a use of Redis that may be refused.
type RefusedUse string

// What may be refused.
const (
	// RefusedScripts: nothing can be refreshed.
	RefusedScripts RefusedUse = "scripts"

	// RefusedTransactions: tokens are read by script instead. If scripts are
	// refused as well, or not allowed, nothing can be read.
	RefusedTransactions RefusedUse = "transactions"

	// RefusedSubscriptions: a process learns of a new token only when it looks.
	RefusedSubscriptions RefusedUse = "subscriptions"

	// RefusedWait: a new token waits for no replica, whatever Options.Replicas
	// says.
	RefusedWait RefusedUse = "wait"
)

// Refusals tries all that a process of that role uses, without an effect on
// anything. An error is a server that could not be asked.
func (s *Store) Refusals(ctx context.Context, role coordinator.Role) ([]Refusal, error) {
	account := "refusal-probe-" + rand.Text()[:12] // one that does not exist
	var refusals []Refusal
	note := func(of RefusedUse, err error) error {
		err = s.fault(ctx, "try "+string(of), "", err)
		switch {
		case err == nil, errors.Is(err, ErrDenied) && !errors.Is(err, coordinator.ErrUnreachable):
			return nil
		case isRefused(err):
			refusals = append(refusals, Refusal{of, err})
			return nil
		}
		return err
	}
	if role == coordinator.Refresher {
		if err := note(RefusedScripts, s.tryScripts(ctx, account)); err != nil {
			return nil, err
		}
	}
	if err := note(RefusedTransactions, s.tryLoad(ctx, account, s.transactions)); err != nil {
		return nil, err
	}
	if role == coordinator.Reader && len(refusals) > 0 {
		// The rules of a reader allow no scripts: that counts as well.
		if err := s.fault(ctx, "try scripts", "", s.tryLoad(ctx, account, s.loadScripts)); err != nil {
			refusals = append(refusals, Refusal{RefusedScripts, err})
		}
	}
	if err := note(RefusedSubscriptions, s.trySubscription(ctx, account)); err != nil {
		return nil, err
	}
	if s.replicas > 0 && role == coordinator.Refresher {
		if err := note(RefusedWait, s.tryWait(ctx, account)); err != nil {
			return nil, err
		}
	}
	return refusals, nil
}

// isRefused reports whether err is a server's answer, and not that it cannot do
// anything now.
func isRefused(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer) && !errors.Is(err, coordinator.ErrUnreachable)
}

// tryScripts runs every script so that it does nothing: the day of the calls is
// none, the lock is not held, and what is to be restored has no life left.
func (s *Store) tryScripts(ctx context.Context, account string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	k := s.keys.of(account)
	attempt := []string{k.token, k.state, k.attempts, k.calls, k.log}
	probe := &lock{store: s, account: account, keys: k, value: "probe", life: s.timeout}
	for _, run := range []struct {
		script *redis.Script
		keys   []string
		args   []any
	}{
		{s.scripts.load, k.forLoad(""), nil},
		{s.scripts.begin, attempt, nil},
		{s.scripts.commit, attempt, nil},
		{s.scripts.fail, attempt, nil},
		{s.scripts.extend, []string{k.lock, k.attempts}, []any{probe.value, 1, 0}},
		{s.scripts.restore, []string{k.token, k.state, k.log}, []any{"", "", 1, "", 0, 0, 0, 0}},
	} {
		err := s.client.OnMaster(ctx, k.token, func(client redis.UniversalClient) error {
			return run.script.Run(ctx, client, run.keys, run.args...).Err()
		})
		if err != nil {
			return err
		}
	}
	_, err := probe.unlock(ctx)
	return unwrapRedsync(err)
}

// tryLoad reads the account in one of the two ways.
func (s *Store) tryLoad(ctx context.Context, account string, read func(context.Context, []string) []answer) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return read(ctx, []string{account})[0].err
}

func (s *Store) trySubscription(ctx context.Context, account string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	pubsub := s.client.Reads.Subscribe(ctx)
	defer pubsub.Close()
	if err := pubsub.Subscribe(ctx, s.keys.channel(account, refreshedChannel)); err != nil {
		return err
	}
	_, err := pubsub.ReceiveTimeout(ctx, s.timeout)
	return err
}

func (s *Store) tryWait(ctx context.Context, account string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.client.OnMaster(ctx, s.keys.of(account).token, func(client redis.UniversalClient) error {
		return client.Do(ctx, "wait", 0, 1).Err()
	})
}
