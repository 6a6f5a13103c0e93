package memstore

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// lock is a held lock.
type lock struct {
	instance *Instance
	account  string
	id       string
	life     time.Duration
}

// Lock implements [coordinator.Store].
func (i *Instance) Lock(ctx context.Context, name string, life time.Duration) (coordinator.Lock, error) {
	l := &lock{instance: i, account: name, id: rand.Text(), life: life}
	err := i.step(ctx, OpLock, name, func(a *account, s ledger.Step) (*coordinator.Event, error) {
		if err := a.Lock(s, l.id, life); err != nil {
			return nil, err
		}
		a.lockID = l.id
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Extend implements [coordinator.Lock].
func (l *lock) Extend(ctx context.Context, fence coordinator.Fence) error {
	return l.instance.step(ctx, OpExtend, l.account, func(a *account, s ledger.Step) (*coordinator.Event, error) {
		return nil, a.Extend(s, l.id, l.life, fence)
	})
}

// Unlock implements [coordinator.Lock].
func (l *lock) Unlock(ctx context.Context) error {
	return l.instance.step(ctx, OpUnlock, l.account, func(a *account, _ ledger.Step) (*coordinator.Event, error) {
		a.Unlock(l.id)
		return nil, nil
	})
}
