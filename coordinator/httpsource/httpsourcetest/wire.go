package httpsourcetest

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Wire is an issuer's side of the wire, as its documentation states it.
//
// In texts, {name} stands for a parameter, {timestamp_ms} for the caller's time, and
// {sha256 a b} or {md5 a b} for the digest of the values of a and b, one after the
// other. {parent_token} is a token of another account.
type Wire struct {
	Preset     string
	Parameters map[string]string // those of an account to try it out with

	// Request is the request line with the whole URL, headers, an empty line, the body.
	Request string

	// Answer is the body of a good answer. {token} is the token, {life} what is left of
	// its life in seconds, {ends_ms} its end and {now_ms} the time in ms since 1970.
	Answer string

	Refused Reply // to a wrong credential
	Parent  Reply // to a {parent_token} that is not valid

	// Use is a header ("Name: value") or a query ("?name=value") with which business
	// calls carry {token}; "": they are not played. Rejected answers one whose token is
	// not valid.
	Use      string
	Rejected Reply

	Knobs Knobs

	// Failures are answers without a token and what they mean to a client.
	Failures []Failure
}

// Reply is an answer without a token.
type Reply struct {
	Status int
	Body   string
}

// Failure is a Reply and what a client must make of it.
type Failure struct {
	Reply
	Kind    coordinator.FailureKind
	Code    coordinator.Code
	RetryIn time.Duration
}

// Knobs are what an issuer does with its tokens.
type Knobs struct {
	Repeat coordinator.Repeat
	Life   time.Duration

	// Overlap is how long the token before lives on where a call kills it.
	Overlap time.Duration

	// Latest is how many tokens live at most; 0: any number.
	Latest int

	// Rollover is the rest of its life at which a token is no longer answered again
	// where it would be.
	Rollover time.Duration

	// Extends lets a repeated call extend the life of the token that it answers.
	Extends bool

	// FullLife lets each answer state Life, whatever is left of it.
	FullLife bool

	// Prefix and Length shape the tokens. Length 0: 64 characters.
	Prefix string
	Length int

	// More than Calls calls in Window are answered with Limited.
	Calls   int
	Window  time.Duration
	Limited Reply
}
