package redisadmin

import (
	"context"
	"crypto/rand"
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

// Refusals tries what a process of that role does, without changing anything. An
// error means that the server could not be asked. Each try takes no longer than
// Options.Timeout.
func (i Inspector) Refusals(ctx context.Context, role coordinator.Role) ([]Refusal, error) {
	account := "refusal-probe-" + rand.Text()[:12] // does not exist
	var refusals []Refusal
	var failed error
	try := func(use RefusedUse, do func(context.Context, string) error) {
		if failed != nil {
			return
		}
		err := i.Fault(ctx, "try "+string(use), "", do(ctx, account))
		_, answered := errors.AsType[redis.Error](err)
		switch reached := !errors.Is(err, coordinator.ErrUnreachable); {
		case err == nil, reached && errors.Is(err, redisstore.ErrDenied):
		case reached && answered:
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
		if err := i.Fault(ctx, "try scripts", "", i.TryLoadScript(ctx, account)); err != nil {
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

func (i Inspector) trySubscription(ctx context.Context, account string) error {
	ctx, cancel := i.Bounded(ctx)
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
	ctx, cancel := i.Bounded(ctx)
	defer cancel()
	return i.Client.OnMaster(ctx, i.Keys.Of(account).Token, func(client redis.UniversalClient) error {
		return client.Do(ctx, "wait", 0, 1).Err()
	})
}
