package main

import (
	"context"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// drainMoment is how long a command waits for what is under way before it says so.
const drainMoment = time.Second

// drain returns when the calls to issuers that are under way have ended and what they
// brought is stored. To exit before could lose it: a token, or a refresh token that only
// this process has. So --wait does not bound it; a second signal does, see main.
func (p program) drain(zk *coordinator.Coordinator) error {
	if drainWithin(zk, drainMoment) == nil {
		return nil
	}
	left := zk.StopTime()
	fmt.Fprintf(p.stderr, "zhongkong: a call to the issuer is under way: waiting up to %s until its answer is stored; "+
		"a second interrupt ends this at once and may lose the token\n", brief(left))
	if err := drainWithin(zk, left); err != nil {
		return fmt.Errorf("a call to the source is still under way: %w", err)
	}
	return nil
}

func drainWithin(zk *coordinator.Coordinator, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return zk.Drain(ctx)
}
