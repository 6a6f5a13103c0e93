package coordinator

import (
	"context"
	"time"
)

// Source issues tokens for one account. Fetch is called by at most one
// goroutine at a time in a process, and by one process of a fleet unless the
// lock fails.
//
// Fetch must end soon after ctx does. It must not start (or repeat) a request
// to the issuer once ctx has ended: the attempt's deadline has passed then,
// and another process may be fetching. Its errors must hold neither the
// secret nor a token, and should be, or wrap, a *FetchError; any other error
// counts as FailedUnknown, which is always safe.
//
// A panic in Fetch ends the process. If the issuer's answer causes it, each process that
// takes over ends as well: recover from it where that can happen.
type Source interface {
	Fetch(ctx context.Context, ask FetchRequest) (FetchResult, error)
}

// FetchRequest tells a source why it is called.
type FetchRequest struct {
	Reason Reason

	// Current is the token being replaced, also the one that was reported if
	// Reason is ReasonRejected. The zero Token: there is none.
	Current Token

	// Parent is the current token of the account that AccountConfig.Parent names,
	// with its attributes; the zero Record if it names none.
	Parent Record

	// Grant is the token to present, of a source whose Description says that it needs a
	// grant. The request that holds it must not be sent from SendBefore on, because
	// another process may present it then, or its window (GrantRules.Replay) is about to
	// pass; the answer is waited for until ctx ends.
	Grant      GrantToken
	SendBefore time.Time
}

// FetchResult is a source's answer.
type FetchResult struct {
	Token Token

	// Lifetime is how long the token lives, from the moment the request was
	// sent. It must be positive. More than MaxLifetime counts as MaxLifetime.
	Lifetime time.Duration

	// RefreshIn is when the source wants to be asked again, from the same
	// moment. Zero leaves it to the schedule, and so does more than Lifetime; but a
	// source with RepeatSame that repeats its token can ask for up to a minute more.
	RefreshIn time.Duration

	// Doubt says what is odd about the answer though the token is taken, for the
	// log; it holds neither the secret nor a token. "": nothing.
	Doubt string

	// Attributes are what the token's readers need besides, such as instance_url,
	// scope or token_type. They are stored and served as plain text: no secrets. At
	// most MaxAttributes bytes, names and values together.
	Attributes map[string]string

	// Grant is the token to present the next time, in place of the one that was
	// presented; zero: that one stays. GrantForm is its GrantToken.Form. GrantIdle and
	// GrantEnds say how long the grant lives from now on if it is not used, and
	// altogether; 0: not known, or as before.
	Grant                Token
	GrantForm            string
	GrantIdle, GrantEnds time.Duration

	// Calls is how many requests reached, or may have reached, the issuer to
	// get the answer. Zero counts as one.
	Calls int
}

// Credentialed is an optional interface of a Source. Credential returns a
// short fingerprint of the credential it asks with, from which the credential
// cannot be had. It lets a process with a corrected secret try at once where
// the old one was refused. A Source without it counts as having "".
//
// Credential is called under the account's lock, from several goroutines and also during
// Fetch: it must return at once, and must not wait for what Fetch holds or call the
// coordinator.
type Credentialed interface {
	Credential() string
}

// Described is an optional interface of a Source that is not like WeChat's
// access_token. Description is called when the account is added, or the source set,
// and returns the same each time.
type Described interface {
	Description() Description
}

// Description is what an issuer does with its tokens, and what it allows. The zero
// value describes WeChat's access_token.
type Description struct {
	Repeat Repeat

	// Limits are the issuer's. The fields that AccountConfig.Limits or Config.Limits
	// set go before them; what neither sets is taken from DefaultLimits. A PerDay
	// without a Reserve reserves a tenth of it, at least one call if there are two.
	Limits Limits

	// RefreshEvery is how old a token of this source gets if neither AccountConfig nor
	// Config says so. Zero: an hour.
	RefreshEvery time.Duration

	// Grant is what the issuer does with grants. If a grant is needed and can be used up,
	// a token is replaced as late as is safe: its life less a tenth, at least 5 minutes,
	// before its end, unless RefreshEvery says otherwise.
	Grant GrantRules
}

// Repeat says what a call for a token does to the token that was issued before.
type Repeat string

// The kinds of repeat.
const (
	// RepeatKills: the token before dies, at once or after an overlap. A token that
	// the issuer rejects although no call of the fleet replaced it proves that another
	// program fetches (a conflict); an overdue attempt may have killed the token, so it
	// is replaced.
	RepeatKills Repeat = ""

	// RepeatSame: while the token lives, the issuer answers the same one, so that asking
	// again is harmless and cannot force a new one. An answer with the token that is held
	// cannot prolong its life: the token ends when it was known to end before, or earlier
	// if less is left now, but a little after the next planned question at the
	// earliest. So a token that the issuer replaces early is served for RefreshEvery at
	// most. If the token was to be replaced on demand, Record.Repeated says that it was not;
	// demands that come within Limits.MinInterval are answered with a *ThrottledError.
	RepeatSame Repeat = "same"

	// RepeatKeeps: each call brings a new token, and those before live on.
	RepeatKeeps Repeat = "keeps"
)

// SourceFunc makes a Source of a function.
type SourceFunc func(ctx context.Context, ask FetchRequest) (FetchResult, error)

// Fetch calls f.
func (f SourceFunc) Fetch(ctx context.Context, ask FetchRequest) (FetchResult, error) {
	return f(ctx, ask)
}

// FetchError is a Source's failure, with what is known of its outcome.
type FetchError struct {
	Kind    FailureKind   // any but the constants, "" too, counts as FailedUnknown
	Code    Code          // the issuer's code, "" if none
	Message string        // in words, without secret or token
	RetryIn time.Duration // the issuer's own word on when to come back; 0: none. Half a second is waited at least
	Calls   int           // as in FetchResult; 0: nothing was sent. It counts as 1 of a FailedUnknown
	Here    bool          // of a FailedRefused: the address that the call came from is refused, so processes of other hosts call all the same
	Err     error         // the cause, if any; its text must be as clean as Message
}

// Error returns Message, with the code if there is one.
func (e *FetchError) Error() string { return withCode(e.Message, e.Code) }

// Unwrap returns Err.
func (e *FetchError) Unwrap() error { return e.Err }

// credential returns s's fingerprint.
func credential(s Source) string {
	if c, ok := s.(Credentialed); ok {
		return c.Credential()
	}
	return ""
}
