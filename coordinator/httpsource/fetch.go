package httpsource

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// fetch is one call of Source.Fetch.
type fetch struct {
	source   *Source
	ask      coordinator.FetchRequest
	endpoint string   // host and path, for messages
	secrets  []string // must not be quoted
}

// unanswered is the failure of a request without a complete answer.
func (f *fetch) unanswered(e *Error) *coordinator.FetchError {
	failure := e.Failure(f.secrets...)
	failure.Message = Scrub(f.endpoint, f.secrets...) + ": " + failure.Message
	return failure
}

// outcome turns an answer into a token or a failure. A token with a code is accepted,
// since it was issued; if it equals the one that is held already, a relay has repeated
// it, and the code counts.
func (f *fetch) outcome(r *Response) (coordinator.FetchResult, error) {
	got := f.source.issuer.read(r)
	token := coordinator.NewToken(got.token)
	if got.token != "" && (got.code == "" || !token.Equal(f.ask.Current)) {
		return coordinator.FetchResult{
			Token: token, Lifetime: got.life, Attributes: got.attributes, Calls: 1,
			RefreshIn: f.source.issuer.refreshIn(got.life, token.Equal(f.ask.Current)),
			Doubt:     Scrub(got.doubt, append(f.secrets, got.token)...),
		}, nil
	}
	f.secrets = append(f.secrets, got.token)
	return coordinator.FetchResult{}, f.failure(r, got)
}

// refreshIn returns when to call again for a token with this much life left, 0 for the
// schedule's time. An issuer that repeats its token is asked just after the rollover,
// because earlier calls would change nothing; one without a rollover at the end of the
// life that it stated, if the schedule would not ask before. The record of a token that
// is not known is withdrawn before that end, so the issuer is asked before the withdrawal;
// if it repeats the token, the record lasts beyond the next question.
func (i *Issuer) refreshIn(left time.Duration, known bool) time.Duration {
	if i.Repeat != repeatSame || i.Rollover == 0 && left > i.refreshEvery() {
		return 0
	}
	at := max(left-time.Duration(i.Rollover)+rolloverSlack, min(minRefreshIn, left/2))
	if !known {
		at = min(at, left-coordinator.Margin(left)*3/2)
	}
	return at
}

func (i *Issuer) refreshEvery() time.Duration {
	return cmp.Or(time.Duration(i.RefreshEvery), time.Hour)
}

// failure classifies an answer without a token. A known code is the issuer's word
// whatever the status; an unknown one with a 5xx may come from a gateway.
func (f *fetch) failure(r *Response, got reading) *coordinator.FetchError {
	class, known := f.source.issuer.classify(r, got)
	switch {
	case r.GaveUp(), r.Status/100 == 5 && !known:
		return f.failed(coordinator.FailedUnknown, got, 0, fmt.Sprintf("HTTP status %d", r.Status))
	case known:
		return f.failed(class.Kind, got, time.Duration(class.RetryIn), source.Advice(f.clean(got.message), class.Meaning, class.Hint))
	case got.code != "" && r.Status == http.StatusTooManyRequests:
		return f.failed(coordinator.FailedLater, got, r.RetryAfter(), f.clean(got.message))
	case got.code != "":
		return f.failed(coordinator.FailedBusy, got, 0, f.clean(got.message))
	case r.Status != http.StatusOK:
		return f.failed(r.Kind(), got, r.RetryAfter(), fmt.Sprintf("HTTP status %d", r.Status))
	}
	return f.failed(coordinator.FailedUnknown, got, 0, got.wrong.Error())
}

// classify returns the class of an answer without a token.
func (i *Issuer) classify(r *Response, got reading) (Class, bool) {
	if got.code != "" {
		return i.ClassOf(got.code)
	}
	for _, c := range i.Codes {
		if c.Status != 0 && c.Status == r.Status || c.Page && got.page && r.Status/100 != 5 {
			return c, true
		}
	}
	return Class{}, false
}

func (f *fetch) failed(kind coordinator.FailureKind, got reading, retryIn time.Duration, text string) *coordinator.FetchError {
	text = cmp.Or(text, "a code that is not known")
	return &coordinator.FetchError{
		Kind: kind, RetryIn: retryIn, Calls: 1,
		Code:    coordinator.Code(f.clean(string(got.code))),
		Message: Scrub(f.endpoint, f.secrets...) + " answered " + text,
	}
}

func (f *fetch) clean(message string) string { return OneLine(Scrub(message, f.secrets...)) }
