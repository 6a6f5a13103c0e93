package coordinator

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNoToken is returned when the caller's context ended before there was
	// a token. The error wraps the context's error and the known cause as well.
	ErrNoToken = errors.New("coordinator: no token")

	// ErrUnreachable is wrapped by the errors of a store that could not be
	// asked. Whether it carried the operation out is unknown.
	ErrUnreachable = errors.New("coordinator: store unreachable")

	// ErrDenied is wrapped by the errors of a store that denies this process
	// an operation: a wrong password, a missing right. It needs an operator,
	// so no call waits for it to pass.
	ErrDenied = errors.New("coordinator: store denies access")

	// ErrSuperseded is returned by Store.Commit if a newer fence has been
	// handed out since the attempt began: nothing was stored.
	ErrSuperseded = errors.New("coordinator: superseded by a newer attempt")

	// ErrLockLost is returned by Lock.Extend if the lock had expired: another
	// process may hold it.
	ErrLockLost = errors.New("coordinator: lock lost")

	// ErrSealed is wrapped by errors about a stored token that cannot be
	// decrypted: it was sealed with a key this process does not have, or it is
	// damaged.
	ErrSealed = errors.New("coordinator: token cannot be opened")

	// ErrUnknownAccount is returned for a name that was never added, or was
	// removed.
	ErrUnknownAccount = errors.New("coordinator: unknown account")
)

// LockedError is returned by Store.Lock when another process holds the lock.
type LockedError struct {
	Holder  string        // its instance name, "" if not known
	RetryIn time.Duration // when the lock ends unless it is extended
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("coordinator: locked by %s for %v", e.Holder, e.RetryIn)
}

// Limit names what forbids a call to the source. Its text is fit for messages
// to people: "throttled by the daily budget".
type Limit string

// The limits. Stores and events carry them as text.
const (
	LimitBudget   Limit = "daily budget"     // Limits.PerDay; for a demanded refresh less Limits.Reserve
	LimitWindow   Limit = "call budget"      // LimitBudget where a window is not a day, see Limits.Window
	LimitInterval Limit = "minimum interval" // Limits.MinInterval
	LimitBackOff  Limit = "back-off"         // FailRequest.RetryIn of the last failure
	LimitLoop     Limit = "loop brake"       // BeginRequest.Pace
)

// ThrottledError is returned when one of the fleet's own limits forbids a call
// to the source. The issuer was not asked.
type ThrottledError struct {
	Limit   Limit
	RetryIn time.Duration // how long the limit still applies
	Until   time.Time     // its end on this machine's clock, for messages
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("throttled by the %s until %s (in %v)",
		e.Limit, e.Until.Format(time.RFC3339), e.RetryIn.Round(time.Second))
}

// QuotaError is returned when the issuer answers the account's calls again only
// after a while (FailedLater): a quota of its own is used up. No operator action
// is needed.
type QuotaError struct {
	Account string
	Code    Code          // the issuer's code; "": it gave none
	Message string        // the issuer's words
	RetryIn time.Duration // how long no process calls the source on schedule
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("the issuer's quota for account %q is used up, next call in %v: %s",
		e.Account, e.RetryIn.Round(time.Second), withCode(e.Message, e.Code))
}

// RefusedError is returned when the issuer refuses the account until an operator
// acts: a wrong secret, an unknown account, an address that is not allowed.
type RefusedError struct {
	Account string
	Code    Code   // the issuer's code
	Message string // the issuer's words
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the issuer refuses account %q: %s", e.Account, withCode(e.Message, e.Code))
}

// ParentError is returned when the source of an account cannot be asked because the
// account that AccountConfig.Parent names has no token. No call is made then.
type ParentError struct {
	Account string
	Parent  string
	Cause   error // why the parent has no token, as its own callers get it; ErrNoToken if nothing is known
}

func (e *ParentError) Error() string {
	return fmt.Sprintf("account %q needs a token of %q: %v", e.Account, e.Parent, e.Cause)
}

// Unwrap returns Cause.
func (e *ParentError) Unwrap() error { return e.Cause }

// noTokenError is ErrNoToken with its circumstances, on one line.
type noTokenError struct {
	account string
	reader  bool
	unread  bool  // nothing Runs, and the store has not been read since the call began
	cause   error // may be nil
	ended   error // why the context ended
}

func (e *noTokenError) Error() string {
	text := fmt.Sprintf("no token for %q: %v", e.account, e.ended)
	switch {
	case e.cause != nil:
		text += fmt.Sprintf(": %v", e.cause)
	case e.reader && !e.unread:
		text += ": no process with the account's secret answered"
	}
	if e.unread {
		text += "; the store was not read in time, which a call has to wait for without Run"
	}
	return text
}

func (e *noTokenError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrNoToken, e.ended}
	}
	return []error{ErrNoToken, e.cause, e.ended}
}

// failureError returns a failure as the callers of an account see it. retryIn is
// how long its back-off still lasts.
func failureError(account string, f *Failure, retryIn time.Duration) error {
	switch f.Kind {
	case FailedRefused:
		return &RefusedError{Account: account, Code: f.Code, Message: f.Message}
	case FailedLater:
		return &QuotaError{Account: account, Code: f.Code, Message: f.Message, RetryIn: max(retryIn, 0)}
	}
	return &FetchError{Kind: f.Kind, Code: f.Code, Message: f.Message}
}

// isA reports whether err is or wraps an E.
func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func withCode(message string, code Code) string {
	if code == "" {
		return message
	}
	return fmt.Sprintf("%s (code %s)", message, code)
}

// errRecorded is how a round ends of whose failure the callers know already.
var errRecorded = errors.New("failure recorded")

func asFetchError(err error) *FetchError {
	if fetch, ok := errors.AsType[*FetchError](err); ok {
		return fetch
	}
	return &FetchError{Kind: FailedUnknown, Message: err.Error(), Calls: 1}
}
