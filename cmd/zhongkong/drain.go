package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// drainMoment is how long a command waits for what is under way before it says so.
const drainMoment = time.Second

// drain returns when the calls to issuers that are under way have ended and what they
// brought is stored. To exit before could lose it: a token, or a refresh token that only
// this process has. So --wait does not bound it; a second signal does, see main. The error
// says that something may be lost. All coordinators are waited for at once.
func (p program) drain(all ...*coordinator.Coordinator) error {
	unfinished := drainWithin(drainMoment, all...)
	if unfinished == nil {
		return nil
	}
	if unfinished.Kept {
		fmt.Fprintf(p.stderr, "zhongkong: %s: trying for some seconds more; a second interrupt ends this at once, and loses nothing\n", unfinished.Work)
	} else {
		fmt.Fprintf(p.stderr, "zhongkong: %s: waiting up to %s until it is stored; a second interrupt ends this at once and may lose the token\n",
			unfinished.Work, brief(stopTime(all)))
	}
	unfinished = drainWithin(stopTime(all), all...)
	if unfinished == nil || unfinished.Kept {
		return nil
	}
	return fmt.Errorf("not waiting any longer: %w", unfinished)
}

// stopTime is that of the slowest coordinator.
func stopTime(all []*coordinator.Coordinator) (most time.Duration) {
	for _, zk := range all {
		most = max(most, zk.StopTime())
	}
	return most
}

// drainWithin returns what is under way when limit has passed, nil if nothing is. Of
// several coordinators it is that of one of them, and of one that may lose something if
// there is such a one.
func drainWithin(limit time.Duration, all ...*coordinator.Coordinator) *coordinator.UnfinishedError {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, zk := range all {
		wg.Go(func() { errs[i] = zk.Drain(ctx) })
	}
	wg.Wait()
	var worst *coordinator.UnfinishedError
	for _, err := range errs {
		if e, ok := errors.AsType[*coordinator.UnfinishedError](err); ok && (worst == nil || worst.Kept) {
			worst = e
		}
	}
	return worst
}
