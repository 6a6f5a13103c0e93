package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// This file is the gates of the processes of a grantFleet: its store, its disk and its
// copy behind them.

// gate is between a process and all that it can have an effect on.
type gate struct {
	mu     sync.Mutex
	dead   bool
	end    func()        // ends the process' goroutines, in their time
	paused time.Time     // until then everything stands
	dieAt  string        // it dies at this call
	after  bool          // when the call has had its effect
	stands string        // it stands at this call, once,
	stand  time.Duration // for so long
	hook   func(op string)
}

var errDead = fmt.Errorf("the process is dead: %w", coordinator.ErrUnreachable)

func (g *gate) die() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dies()
}

// dies needs mu.
func (g *gate) dies() {
	g.dead = true
	g.end()
}

// dieBefore and dieAfter have the process die at its next call of that name.
func (g *gate) dieBefore(op string) { g.set(func() { g.dieAt, g.after = op, false }) }
func (g *gate) dieAfter(op string)  { g.set(func() { g.dieAt, g.after = op, true }) }

// standAt has the whole process stand before its next call of that name.
func (g *gate) standAt(op string, d time.Duration) { g.set(func() { g.stands, g.stand = op, d }) }

func (g *gate) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func (g *gate) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// enter is before a call.
func (g *gate) enter(op string) error {
	g.mu.Lock()
	if g.hook != nil && !g.dead {
		g.hook(op)
	}
	if op == g.stands {
		g.paused, g.stands = time.Now().Add(g.stand), ""
	}
	if op == g.dieAt && !g.after {
		g.dies()
	}
	until := g.paused
	g.mu.Unlock()
	if d := time.Until(until); d > 0 {
		time.Sleep(d)
	}
	if g.isDead() {
		return errDead
	}
	return nil
}

// leave is after it.
func (g *gate) leave(op string) error {
	g.mu.Lock()
	if op == g.dieAt && g.after {
		g.dies()
	}
	until := g.paused
	g.mu.Unlock()
	if d := time.Until(until); d > 0 {
		time.Sleep(d)
	}
	if g.isDead() {
		return errDead
	}
	return nil
}

func (g *gate) through(op string, call func() error) error {
	if err := g.enter(op); err != nil {
		return err
	}
	err := call()
	if dead := g.leave(op); dead != nil {
		return dead
	}
	return err
}

// gatedStore is the store behind a gate.
type gatedStore struct {
	*memstore.Instance
	gate  *gate
	store *memstore.Store

	// What breaks the rules. Nil: nothing is changed.
	saving  func(before, g coordinator.Grant) (coordinator.Grant, bool) // false: not stored, and said to be
	reading func(coordinator.GrantReading) coordinator.GrantReading
	loses   bool // RestoreGrant does nothing
	hasty   bool // what was not confirmed counts as confirmed, and is lost
}

func (s *gatedStore) Load(ctx context.Context, names ...string) (states []coordinator.State, err error) {
	err = s.gate.through("load", func() (err error) { states, err = s.Instance.Load(ctx, names...); return err })
	return states, err
}

func (s *gatedStore) Lock(ctx context.Context, name string, life time.Duration) (lock coordinator.Lock, err error) {
	err = s.gate.through("lock", func() (err error) { lock, err = s.Instance.Lock(ctx, name, life); return err })
	return gatedLock{lock, s.gate}, err
}

type gatedLock struct {
	coordinator.Lock
	gate *gate
}

func (l gatedLock) Extend(ctx context.Context, f coordinator.Fence) error {
	return l.gate.through("extend", func() error { return l.Lock.Extend(ctx, f) })
}

func (l gatedLock) Unlock(ctx context.Context) error {
	return l.gate.through("unlock", func() error { return l.Lock.Unlock(ctx) })
}

func (s *gatedStore) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (a coordinator.Attempt, err error) {
	err = s.gate.through("begin", func() (err error) { a, err = s.Instance.Begin(ctx, name, b); return err })
	return a, err
}

func (s *gatedStore) Commit(ctx context.Context, name string, c coordinator.CommitRequest) (r coordinator.Record, err error) {
	err = s.gate.through("commit", func() (err error) { r, err = s.Instance.Commit(ctx, name, c); return err })
	return r, err
}

func (s *gatedStore) Fail(ctx context.Context, name string, f coordinator.FailRequest) error {
	return s.gate.through("fail", func() error { return s.Instance.Fail(ctx, name, f) })
}

func (s *gatedStore) Restore(ctx context.Context, name string, r coordinator.Record) (stored coordinator.Record, err error) {
	err = s.gate.through("restore", func() (err error) { stored, err = s.Instance.Restore(ctx, name, r); return err })
	return stored, err
}

func (s *gatedStore) LoadGrant(ctx context.Context, name string) (r coordinator.GrantReading, err error) {
	err = s.gate.through("load grant", func() (err error) { r, err = s.Instance.LoadGrant(ctx, name); return err })
	if s.reading != nil {
		r = s.reading(r)
	}
	return r, err
}

func (s *gatedStore) SaveGrant(ctx context.Context, name string, g coordinator.Grant, sum coordinator.GrantSummary) error {
	return s.gate.through("save grant", func() error {
		if s.saving != nil {
			before, err := s.Instance.LoadGrant(ctx, name)
			if err != nil {
				return err
			}
			var stored bool
			if g, stored = s.saving(before.Grant, g); !stored {
				return nil
			}
		}
		err := s.Instance.SaveGrant(ctx, name, g, sum)
		if s.hasty && errors.Is(err, coordinator.ErrUnconfirmed) {
			s.store.LoseGrantWrites(name, 1)
			return nil
		}
		return err
	})
}

func (s *gatedStore) RestoreGrant(ctx context.Context, name string, g coordinator.Grant, sum coordinator.GrantSummary) error {
	return s.gate.through("restore grant", func() error {
		if s.loses {
			return nil
		}
		return s.Instance.RestoreGrant(ctx, name, g, sum)
	})
}

// memSpool is a disk.
type memSpool struct {
	mu      sync.Mutex
	answers []coordinator.GrantAnswer
	written []string // every token that was written, ever
	lossy   bool     // it says that it has written, and has not
	locked  bool     // it can only be read
}

var errReadOnly = errors.New("the disk is read-only")

func (s *memSpool) lock(locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locked = locked
}

type gatedSpool struct {
	disk *memSpool
	gate *gate
}

func (s gatedSpool) Write(a coordinator.GrantAnswer) error {
	return s.gate.through("spool", func() error {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		if s.disk.locked {
			return errReadOnly
		}
		s.disk.written = append(s.disk.written, a.Token.Reveal())
		if !s.disk.lossy {
			s.disk.answers = append(s.disk.answers, a)
		}
		return nil
	})
}

func (s gatedSpool) Remove(name string, fence coordinator.Fence) error {
	return s.gate.through("unspool", func() error {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		if s.disk.locked {
			return errReadOnly
		}
		s.disk.answers = slices.DeleteFunc(s.disk.answers, func(a coordinator.GrantAnswer) bool { return a.Account == name && a.Fence == fence })
		return nil
	})
}

func (s gatedSpool) Answers() (answers []coordinator.GrantAnswer, err error) {
	err = s.gate.through("read spool", func() error {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		answers = slices.Clone(s.disk.answers)
		return nil
	})
	return answers, err
}

func (s *memSpool) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answers)
}

// memCopy is a copy of the grants outside of the store.
type memCopy struct {
	mu     sync.Mutex
	down   bool
	hangs  bool // a call is answered when its context ends
	full   bool // nothing can be put
	deaf   bool // it has nothing
	grants map[string]coordinator.Grant
}

var errCopyDown = errors.New("the copy is away")

// set changes what becomes of the calls.
func (c *memCopy) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// available waits for the end of ctx if the copy hangs.
func (c *memCopy) available(ctx context.Context) error {
	c.mu.Lock()
	down, hangs := c.down, c.hangs
	c.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case down:
		return errCopyDown
	}
	return nil
}

func (c *memCopy) peek() coordinator.Grant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grants[account]
}

type gatedCopy struct {
	copy *memCopy
	gate *gate
}

func (c gatedCopy) Put(ctx context.Context, name string, g coordinator.Grant) error {
	return c.gate.through("copy", func() error {
		if err := c.copy.available(ctx); err != nil {
			return err
		}
		c.copy.mu.Lock()
		defer c.copy.mu.Unlock()
		if c.copy.full {
			return errCopyDown
		}
		if c.copy.grants == nil {
			c.copy.grants = make(map[string]coordinator.Grant)
		}
		if !c.copy.deaf && !g.Older(c.copy.grants[name]) {
			c.copy.grants[name] = g
		}
		return nil
	})
}

func (c gatedCopy) Get(ctx context.Context, name string) (g coordinator.Grant, err error) {
	err = c.gate.through("read copy", func() error {
		if err := c.copy.available(ctx); err != nil {
			return err
		}
		c.copy.mu.Lock()
		defer c.copy.mu.Unlock()
		g = c.copy.grants[name]
		return nil
	})
	return g, err
}

func (c gatedCopy) Accounts(context.Context) ([]string, error) { return nil, nil }
