package coordinatortest

import (
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Outcome is what becomes of one call to a Source. The zero Outcome is a new
// token.
type Outcome struct {
	latency       time.Duration // 0: the Source's
	issuesNothing bool
	hangs         bool
	err           error
	answer        *coordinator.FetchResult
}

// WithLatency returns the same outcome after the given time instead of the Source's
// Latency.
func (o Outcome) WithLatency(latency time.Duration) Outcome {
	o.latency = latency
	return o
}

// Fails is an answer from which no token was issued: Fetch returns err, which
// may be a *coordinator.FetchError.
func Fails(err error) Outcome { return Outcome{issuesNothing: true, err: err} }

// FailsWith is Fails with a *coordinator.FetchError of the given kind and code.
func FailsWith(kind coordinator.FailureKind, code coordinator.Code, message string) Outcome {
	return Fails(&coordinator.FetchError{Kind: kind, Code: code, Message: message, Calls: 1})
}

// AnswerLost is a token that was issued though no answer came: the connection broke
// after the request had been sent.
func AnswerLost() Outcome { return Outcome{err: unanswered(errors.New("connection reset"))} }

// RequestLost looks the same to the caller as AnswerLost, but nothing was
// issued.
func RequestLost() Outcome {
	return Outcome{issuesNothing: true, err: unanswered(errors.New("connection reset"))}
}

// Hangs is an issuer that issues nothing and does not answer: Fetch returns when
// its context has ended.
func Hangs() Outcome { return Outcome{issuesNothing: true, hangs: true} }

// IssuesAndHangs is an issuer that issues a token and does not answer: Fetch returns
// when its context has ended.
func IssuesAndHangs() Outcome { return Outcome{hangs: true} }

// Answers is a source that returns this answer and issued nothing: a negative
// lifetime, no token, a token of another issuer.
func Answers(answer coordinator.FetchResult) Outcome {
	return Outcome{issuesNothing: true, answer: &answer}
}

// Garbage is an answer that is no token at all, after one was issued.
func Garbage() Outcome {
	return Outcome{err: &coordinator.FetchError{
		Kind: coordinator.FailedUnknown, Message: "the answer is not JSON", Calls: 1,
	}}
}
