package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// This file decides what a process does when its terminal is closed: it may have to store
// what it has just got from an issuer.

// untilHangup returns a context that also ends at SIGHUP, unless that was ignored from the
// start, as nohup has it. The terminal and the shell in it may both send it, so no SIGHUP
// ends the process itself, as a second interrupt does. A daemon calls outlive once SIGHUP
// has another meaning: then it does not end the context any more.
func untilHangup(ctx context.Context) (until context.Context, outlive func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	until, cancel := context.WithCancel(ctx)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // until the process ends, unless it outlives hangups
	go func() {                        // ends with ctx
		select {
		case <-hup:
			cancel()
		case <-ctx.Done():
		}
	}()
	return until, func() { signal.Stop(hup) }
}

// outliveReaders makes a write to a closed stdout or stderr an error. Without a handler for
// this signal, Go ends the program. The handler stays until the process ends, because later
// code may write as well.
var outliveReaders = sync.OnceFunc(func() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) })
