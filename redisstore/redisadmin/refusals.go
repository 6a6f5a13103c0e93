package redisadmin

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// Refusal is a use of Redis that the server, or a proxy in front of it, refuses to
// every user. What the user's ACL does not permit is not one: MissingACL finds
// that.
type Refusal struct {
	Of  RefusedUse
	Err error // contains the server's answer
}

// RefusedUse names a use of Redis.
type RefusedUse string

// What may be refused.
const (
	// RefusedScripts: nothing can be refreshed.
	RefusedScripts RefusedUse = "scripts"

	// RefusedTransactions: tokens are read by script instead. If scripts are
	// refused as well, or not permitted, nothing can be read.
	RefusedTransactions RefusedUse = "transactions"

	// RefusedSubscriptions: a process learns of a new token only when it polls.
	RefusedSubscriptions RefusedUse = "subscriptions"

	// RefusedWait: a commit waits for no replica, whatever Options.Replicas says.
	RefusedWait RefusedUse = "wait"
)

// Refusals tries what a process of that role does, without changing anything. It tries it
// with the first of the accounts for which the user has the rights, because Redis denies a
// key before it refuses what would be done with it; if there are none, with one that does
// not exist, which the rules of all accounts cover. An error means that the server could
// not be asked. Each try of an account takes no longer than Options.Timeout.
func (i Inspector) Refusals(ctx context.Context, role coordinator.Role, accounts ...string) ([]Refusal, error) {
	tried, err := i.triedAccounts(accounts)
	if err != nil {
		return nil, err
	}
	var refusals []Refusal
	var failed error
	try := func(use RefusedUse, do func(context.Context, string) error) {
		if failed != nil {
			return
		}
		err := i.tryUntilPermitted(ctx, "try "+string(use), tried, do)
		_, answered := errors.AsType[redis.Error](err)
		switch {
		case err == nil, denied(err):
		case answered && !errors.Is(err, coordinator.ErrUnreachable):
			refusals = append(refusals, Refusal{use, err})
		default:
			failed = err
		}
	}
	if role == coordinator.Refresher {
		try(RefusedScripts, i.TryScripts)
	}
	try(RefusedTransactions, i.TryTransaction)
	if role == coordinator.Reader && len(refusals) > 0 {
		// A reader's rules permit no scripts: that counts as a refusal here.
		if err := i.tryUntilPermitted(ctx, "try scripts", tried, i.TryLoadScript); err != nil {
			refusals = append(refusals, Refusal{RefusedScripts, err})
		}
	}
	try(RefusedSubscriptions, i.trySubscription)
	if i.Replicas > 0 && role == coordinator.Refresher {
		try(RefusedWait, i.tryWait)
	}
	if failed != nil {
		return nil, failed
	}
	return refusals, nil
}

// tryUntilPermitted calls do for one account after the other, until the user's rights do
// not deny it. It returns the last error.
func (i Inspector) tryUntilPermitted(ctx context.Context, op string, accounts []string, do func(context.Context, string) error) (err error) {
	for _, account := range accounts {
		if err = i.Fault(ctx, op, "", do(ctx, account)); !denied(err) {
			break
		}
	}
	return err
}

// denied reports whether the user's rights do not permit what was tried.
func denied(err error) bool {
	return errors.Is(err, redisstore.ErrDenied) && !errors.Is(err, coordinator.ErrUnreachable)
}

func (i Inspector) trySubscription(ctx context.Context, account string) error {
	ctx, cancel := i.Client.Bounded(ctx)
	defer cancel()
	pubsub := i.Client.Reads.Subscribe(ctx)
	defer pubsub.Close()
	if err := pubsub.Subscribe(ctx, i.Keys.Channel(account, layout.Refreshed)); err != nil {
		return err
	}
	_, err := pubsub.ReceiveTimeout(ctx, i.Timeout)
	return err
}

func (i Inspector) tryWait(ctx context.Context, account string) error {
	ctx, cancel := i.Client.Bounded(ctx)
	defer cancel()
	return i.Client.OnMaster(ctx, i.Keys.Of(account).Token, func(client redis.UniversalClient) error {
		return client.Do(ctx, "wait", 0, 1).Err()
	})
}
