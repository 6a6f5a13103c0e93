package coordinator

import (
	"context"
	"fmt"
)

// Drain waits until no call to a source is under way in this process and its
// token is stored, or ctx ends, which is an *UnfinishedError. A process that uses
// accounts without Run calls it before it exits: Token and Refresh return when their
// context ends, the call they caused goes on. StopTime says how long ctx should last.
//
// While nothing Runs, Drain lets go of the Copy, and of what the Spool has, as the end of
// Run does: after ten seconds and the try that is under way then.
func (c *Coordinator) Drain(ctx context.Context) error {
	c.drains.Add(1)
	defer c.drains.Add(-1)
	select {
	case <-c.rounds.none():
		return nil
	case <-ctx.Done():
		return c.rounds.unfinished(ctx.Err())
	}
}

// draining reports whether the process is to exit as soon as Drain has returned.
func (c *Coordinator) draining() bool { return c.drains.Load() > 0 && !c.running.Load() }

// UnfinishedError is returned by Drain if its context ends before what is under way.
type UnfinishedError struct {
	Work string // what is under way, in words: "the issuer's answer is awaited"
	Kept bool   // the process may exit: the store or the Spool has all that could be lost
	Err  error  // why Drain waits no longer
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%s: %v", e.Work, e.Err)
}

// Unwrap returns Err.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// stage is what a goroutine of rounds is at, as far as those who wait are told.
type stage int

const (
	unstaged stage = iota // anything before a call
	awaiting              // a source's answer
	storing               // what became of a refresh: only this process has it
	keeping               // an answer that the store or the spool has
	stages                // how many there are
)

// staged notes that one goroutine has gone from one stage to another.
func (r *rounds) staged(from, to stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[from]--
	r.at[to]++
}

// unfinished returns what is under way, as an error; nil: nothing is.
func (r *rounds) unfinished(why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &UnfinishedError{Err: why}
	switch {
	case r.n == 0:
		return nil
	case r.at[awaiting] > 0:
		e.Work = "the issuer's answer is awaited"
	case r.at[storing] > 0:
		e.Work = "the outcome of a refresh is being stored"
	case r.at[keeping] == r.n:
		e.Work, e.Kept = "the new refresh token is kept, but the store or its copy does not have it yet", true
	default:
		e.Work = "a request is under way"
	}
	return e
}
