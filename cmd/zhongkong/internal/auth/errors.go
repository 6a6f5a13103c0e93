package auth

import (
	"errors"
	"fmt"
	"time"
)

// ErrDenied is returned for a wrong name or password. It never says which of the
// two was wrong.
var ErrDenied = errors.New("auth: wrong name or password")

// ThrottledError is returned for an attempt that was not verified.
type ThrottledError struct {
	Reason  string        // fit for the caller to read
	RetryIn time.Duration // when another attempt will be verified
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("auth: %s; try again in %v", e.Reason, e.RetryIn.Round(time.Second))
}

func errThrottled(wait time.Duration) error {
	return &ThrottledError{Reason: "too many wrong tries from this address", RetryIn: wait}
}

func errQueueFull() error {
	return &ThrottledError{Reason: "too many new callers at once", RetryIn: minAttemptAge}
}
