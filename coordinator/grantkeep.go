package coordinator

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// This file keeps what presentations have brought: first in the spool, then in the store
// and in the copy, however long that takes.

// keepAnswer writes an answer to the spool and has it stored in a goroutine that Run and
// Drain wait for.
func (a *Account) keepAnswer(answer GrantAnswer) {
	spooled := false
	if spool := a.c.cfg.Spool; spool != nil {
		err := spool.Write(answer)
		if spooled = err == nil; !spooled {
			a.c.log.Error("the answer with a new refresh token could not be written to the spool: it is lost if this process dies before the store has it",
				"account", a.name, "fence", answer.Fence, "error", err)
		}
	}
	a.storeAnswer(answer, spooled)
}

// storeAnswer has an answer stored, unless a goroutine is at it already.
func (a *Account) storeAnswer(answer GrantAnswer, spooled bool) {
	m := a.grantMemory()
	if m == nil || !m.keep(answer.Fence) {
		return
	}
	k := grantKeeper{a: a, m: m, answer: answer, came: a.c.now(), spooled: spooled, rules: a.grantRules()}
	k.staged()
	a.c.rounds.start(func() {
		defer m.kept(answer.Fence)
		k.run()
		a.c.rounds.staged(k.stage, unstaged)
	})
}

// grantKeeper stores one answer.
type grantKeeper struct {
	a       *Account
	m       *grantMemory
	rules   GrantRules
	answer  GrantAnswer
	came    instant // the lives of the grant that it states count from then on
	spooled bool    // it is on this machine's disk
	stored  bool    // in the store
	copied  bool    // and in the copy
	stage   stage
	told    time.Time // when the log was told that this takes long
	lags    bool      // it was told that the copy lags
	ending  time.Time // since when the process is known to end
}

// unspooledDrain is how long a stopping process goes on trying to store an answer
// that is nowhere else.
const unspooledDrain = time.Minute

// run tries until the answer is stored and copied, or the process has to stop.
func (k *grantKeeper) run() {
	for wait := storeRetryFirst; ; wait = min(2*wait, storeRetryMost) {
		flows := k.a.c.flows.Load()
		err := k.once()
		if err == nil {
			return
		}
		if k.givesUp() {
			k.lost(err)
			return
		}
		if time.Since(k.told) >= remindEvery {
			k.told = time.Now()
			k.remind(err)
		}
		if k.a.c.untilFlows(flows, wait) {
			wait = storeRetryFirst / 2
		}
	}
}

// givesUp reports whether the process ends, and this has taken too long since. Drain does
// not say how long it waits: what only this process has is not given up for it.
func (k *grantKeeper) givesUp() bool {
	c := k.a.c
	stopped := c.lifetime().Err() != nil
	if k.ending.IsZero() && (stopped || c.draining()) {
		k.ending = time.Now()
	}
	switch {
	case k.ending.IsZero():
		return false
	case k.safe():
		return time.Since(k.ending) > drainFor
	}
	return stopped && time.Since(k.ending) > unspooledDrain
}

// safe reports whether the answer outlives this process.
func (k *grantKeeper) safe() bool { return k.spooled || k.stored }

// staged tells those who wait for this process to end whether it may.
func (k *grantKeeper) staged() {
	before := k.stage
	if k.stage = storing; k.safe() {
		k.stage = keeping
	}
	k.a.c.rounds.staged(before, k.stage)
}

// remind says what takes long.
func (k *grantKeeper) remind(err error) {
	args := []any{"account", k.a.name, "fence", k.answer.Fence, "error", err}
	switch {
	case k.copied:
		k.a.c.log.Warn("the answer with a new refresh token is stored, but cannot be removed from the spool", args...)
	case k.stored:
		k.lags = true
		k.a.c.log.Warn("the copy of the grant is not up to date: it could not be written", args...)
	default:
		k.a.c.log.Warn("the answer with a new refresh token is not stored yet: trying again", append(args, "in_spool", k.spooled)...)
	}
}

// lost says what was given up. That the copy lags has no other words, and is said once.
func (k *grantKeeper) lost(err error) {
	args := []any{"account", k.a.name, "fence", k.answer.Fence, "error", err}
	switch {
	case k.stored && k.lags && !k.copied:
	case k.stored:
		k.remind(err)
	case k.spooled:
		k.a.c.log.Warn("the answer with a new refresh token is in the spool only: the next process with this spool stores it", args...)
	default:
		k.a.c.log.Error("refresh token lost: it could not be stored", args...)
	}
}

// once is one try. What the store needs does not wait for the copy: an answer that only
// this process has is lost with it.
func (k *grantKeeper) once() error {
	primed := k.a.primeGrant(context.Background(), k.m)
	ctx, cancel := context.WithTimeout(context.Background(), k.a.c.cfg.FetchTimeout)
	defer cancel()
	var g Grant
	if !k.stored {
		var err error
		if g, err = k.store(ctx, primed == nil); err != nil {
			return err
		}
	}
	if primed != nil {
		return primed
	}
	if g.Version == 0 {
		g = k.m.recall()
	}
	err := k.a.c.copyGrant(ctx, k.a.name, g, k.m)
	if errors.Is(err, errNotFollowed) {
		k.setStored(false)
	}
	if k.copied = err == nil; !k.copied {
		return err
	}
	if k.spooled {
		return k.a.c.cfg.Spool.Remove(k.a.name, k.answer.Fence)
	}
	return nil
}

// store puts the answer into the store's record. That there is no place for it is final
// only if the copy was read: it may have a newer record, which the store has lost. A record
// that is lost with its consent is begun anew only if the copy has it not either, and those
// who remember it have had their time.
func (k *grantKeeper) store(ctx context.Context, copyRead bool) (Grant, error) {
	var kept, changed, lacks bool
	var unsettled error
	change := grantChange{
		c: k.a.c, account: k.a.name, rules: k.rules, memory: k.m, confirm: true,
		transition: func(r GrantReading) (g Grant, _ bool) {
			changed, unsettled = false, nil
			switch lacks = r.Grant.lacks(k.answer); {
			case lacks && !copyRead:
				return r.Grant, false
			case lacks && r.SettledIn > 0:
				unsettled = &UnsettledError{RetryIn: r.SettledIn}
				return r.Grant, false
			}
			g, changed = r.Grant.Keep(k.answer, r.Now.Add(-time.Duration(k.a.c.now()-k.came)))
			kept = kept || changed
			return g, changed
		},
	}
	g, err := change.make(ctx)
	if err = cmp.Or(err, unsettled); err != nil {
		return Grant{}, err
	}
	if lacks && changed {
		k.a.c.log.Warn("the record of the grant is lost: it is begun anew with the token of the answer", "account", k.a.name, "fence", k.answer.Fence)
	}
	if changed || copyRead || g.settled(k.answer) {
		k.setStored(true)
		k.report(kept, change.summary)
	}
	return g, nil
}

func (k *grantKeeper) setStored(stored bool) {
	k.stored = stored
	k.m.stored(k.answer.Fence, stored)
	k.staged()
}

func (k *grantKeeper) report(kept bool, s GrantSummary) {
	if kept {
		k.a.c.observe(Observation{Kind: KeptGrant, Account: k.a.name})
		k.a.c.log.Info("grant kept", "account", k.a.name, "fence", k.answer.Fence, "grant_version", s.Version)
	} else {
		k.a.c.log.Info("the grant has this answer, or a newer consent, already", "account", k.a.name, "fence", k.answer.Fence)
	}
	k.a.apply(func(v *view, e env) effects { return v.grantHeard(s, e) })
}

// grantSettlement ends a presentation that brought no token: its mark is withdrawn, or
// given up, or the token refused.
type grantSettlement struct {
	a      *Account
	change grantChange
	done   chan GrantReading // gets what is stored then
}

// settleGrant makes such a transition, in a goroutine that goes on until it is stored. It
// returns the record that is stored then, or false if that takes longer than a lock lives.
func (a *Account) settleGrant(transition func(Grant) (Grant, bool)) (_ GrantReading, ok bool) {
	s := grantSettlement{a: a, done: make(chan GrantReading, 1)}
	s.change = grantChange{
		c: a.c, account: a.name, rules: a.grantRules(), memory: a.grantMemory(),
		transition: func(r GrantReading) (Grant, bool) { return transition(r.Grant) },
	}
	a.c.rounds.staged(unstaged, storing)
	a.c.rounds.start(s.run)
	select {
	case r := <-s.done:
		return r, true
	case <-time.After(a.c.cfg.LockTTL):
		return GrantReading{}, false
	}
}

func (s *grantSettlement) run() {
	defer s.a.c.rounds.staged(storing, unstaged)
	var giveUp time.Time
	for wait := storeRetryFirst; ; wait = min(2*wait, storeRetryMost) {
		flows := s.a.c.flows.Load()
		err := s.once()
		if err == nil || errors.Is(err, ErrNoGrants) {
			return
		}
		if giveUp.IsZero() && s.a.c.lifetime().Err() != nil {
			giveUp = time.Now().Add(drainFor)
		}
		if !giveUp.IsZero() && time.Now().After(giveUp) {
			s.a.c.log.Warn("the end of a presentation could not be stored: the refresh token stays in doubt", "account", s.a.name, "error", err)
			return
		}
		if s.a.c.untilFlows(flows, wait) {
			wait = storeRetryFirst / 2
		}
	}
}

func (s *grantSettlement) once() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.a.c.cfg.FetchTimeout)
	defer cancel()
	g, err := s.change.make(ctx)
	if err != nil {
		return err
	}
	s.a.apply(func(v *view, e env) effects { return v.grantHeard(s.change.summary, e) })
	s.done <- GrantReading{Grant: g, Now: s.change.read.Now}
	if err := s.a.c.copyGrant(ctx, s.a.name, g, s.change.memory); err != nil { // the next keep makes up for it
		s.a.c.log.Warn("the copy of the grant is not up to date", "account", s.a.name, "error", err)
	}
	return nil
}

// watchSpool reads the spool each minute, until ctx ends.
func (c *Coordinator) watchSpool(ctx context.Context) {
	for c.readSpool(); sleep(ctx, remindEvery); c.readSpool() {
	}
}

// readSpool has the answers stored that are in the spool of this process, or that others
// have left: at the start, and each minute.
// They may be of accounts that are added later.
func (c *Coordinator) readSpool() {
	if c.cfg.Spool == nil {
		return
	}
	c.spooled <- struct{}{}
	defer func() { <-c.spooled }()
	if !c.spooledAt.IsZero() && time.Since(c.spooledAt) < remindEvery {
		return
	}
	c.spooledAt = time.Now()
	answers, err := c.cfg.Spool.Answers()
	if err != nil {
		c.log.Error("the spool cannot be read: refresh tokens in it are not stored", "error", err)
	}
	for _, answer := range answers {
		if a, ok := c.Account(answer.Account); ok {
			a.storeAnswer(answer, true)
		}
	}
}
