package redisclient

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheTimeOfAnOperationBeginsWhenItsDeadlineIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := Operation(t.Context(), time.Second)
		time.Sleep(time.Minute) // it waits for a connection
		want := time.Now().Add(time.Second)
		for range 2 {
			if deadline, ok := op.Deadline(); !ok || !deadline.Equal(want) {
				t.Errorf("Deadline() = %v, want %v", deadline, want)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if err := op.Err(); err != nil {
			t.Errorf("Err() at the deadline = %v, want nil", err)
		}
		time.Sleep(time.Millisecond)
		if err := op.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Err() after the deadline = %v, want DeadlineExceeded", err)
		}
	})
}

func TestAnOperationEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		op := Operation(ctx, time.Second)
		if deadline, _ := op.Deadline(); time.Until(deadline) != time.Millisecond {
			t.Errorf("Deadline() is in %v, want the caller's", time.Until(deadline))
		}
		cancel()
		if err := op.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("Err() = %v, want Canceled", err)
		}
	})
}
