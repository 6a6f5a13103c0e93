package coordinatortest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Source is an issuer of one account, and the source that asks it. It behaves
// as WeChat does, unless Describes says otherwise: each Fetch issues a new token, which
// kills the one before once an overlap has passed and the ones before that at once. Any
// number of coordinators may share one.
//
// The zero Source is ready. The fields may be changed until the first Fetch.
type Source struct {
	// Name is in the tokens, "<Name>-1" the first. Empty: "token".
	Name string

	// Life is how long a token lives. Zero: two hours.
	Life time.Duration

	// Overlap is how long a token lives on when its successor has been
	// issued. Zero: five minutes; negative: not at all.
	Overlap time.Duration

	// States is the life that answers state. Zero: Life.
	States time.Duration

	// RefreshIn and Attributes are passed on in every FetchResult.
	RefreshIn  time.Duration
	Attributes map[string]string

	// Describes is what the source says of itself. With RepeatSame a Fetch brings the
	// same token until its life has ended or Replace is called; with RepeatKeeps tokens
	// live until their life ends.
	Describes coordinator.Description

	// Latency is how long a Fetch takes. The token is issued in the middle.
	Latency time.Duration

	mu        sync.Mutex // guards the rest
	next      []Outcome  // of the calls that follow
	byDefault Outcome    // of those after them
	issued    []issued
	calls     []*Call
	busy      int
	busiest   int
	accepted  []string // credentials; nil: any
}

var _ coordinator.Source = (*Source)(nil)

// issued is a token as the issuer remembers it.
type issued struct {
	token coordinator.Token
	at    time.Time
}

// Call is one Fetch.
type Call struct {
	Ask   coordinator.FetchRequest
	At    time.Time         // when Fetch was called
	End   time.Time         // when it returned; zero while it has not
	Token coordinator.Token // what was issued, whether or not the answer said so; zero: nothing
	Err   error             // what Fetch returned
}

// Fetch implements [coordinator.Source]. It returns an error of the kind FailedBusy if
// ctx has ended before, and FailedUnknown if ctx ends on the way.
func (s *Source) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	return s.fetch(ctx, ask, "")
}

// Description implements [coordinator.Described].
func (s *Source) Description() coordinator.Description { return s.Describes }

// Replace has the issuer replace its token early, as issuers with RepeatSame do. The
// one before dies like any that is replaced.
func (s *Source) Replace() coordinator.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add()
}

// WithCredential returns the same source as it asks with another credential. That
// matters after Accept.
func (s *Source) WithCredential(credential string) coordinator.Source {
	return credentialed{source: s, credential: credential}
}

type credentialed struct {
	source     *Source
	credential string
}

func (c credentialed) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	return c.source.fetch(ctx, ask, c.credential)
}

func (c credentialed) Credential() string { return c.credential }

func (c credentialed) Description() coordinator.Description { return c.source.Describes }

// Accept makes the issuer refuse every call with a credential other than these, with
// WeChat's code for a wrong secret. The Source itself asks with the credential "".
func (s *Source) Accept(credentials ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append([]string{}, credentials...)
}

// Next sets the outcomes of the next calls that start, in their order. Those of an
// earlier Next come first, that of Default follows.
func (s *Source) Next(outcomes ...Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, outcomes...)
}

// Pending returns how many outcomes of Next no call has had yet.
func (s *Source) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.next)
}

// Default sets the outcome of the calls that Next says nothing about. At first it is
// the zero Outcome, a new token.
func (s *Source) Default(o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byDefault = o
}

// IssueOutside issues a token as if a program that does not use the store had fetched
// with the same secret. It is not among the Calls.
func (s *Source) IssueOutside() coordinator.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue()
}

// Current returns the token that was issued last, alive or not; the zero Token
// before the first.
func (s *Source) Current() coordinator.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.issued) == 0 {
		return coordinator.Token{}
	}
	return s.issued[len(s.issued)-1].token
}

// Valid reports whether the issuer accepts t at this moment.
func (s *Source) Valid(t coordinator.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.issued) - 1
	for ; n >= 0 && !s.issued[n].token.Equal(t); n-- { // most ask for a new one
	}
	if n < 0 {
		return false
	}
	if time.Since(s.issued[n].at) >= s.life() {
		return false
	}
	switch newer := s.issued[n+1:]; {
	case len(newer) == 0, s.Describes.Repeat == coordinator.RepeatKeeps:
		return true
	case len(newer) == 1:
		return time.Since(newer[0].at) < s.overlap()
	default:
		return false
	}
}

// Issued returns how many tokens there have been, those of IssueOutside
// included.
func (s *Source) Issued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.issued)
}

// Calls returns every Fetch so far, in the order in which they started.
func (s *Source) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.calls))
	for n, c := range s.calls {
		calls[n] = *c
	}
	return calls
}

// Busiest returns the greatest number of calls that were under way at once.
func (s *Source) Busiest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busiest
}

func (s *Source) fetch(ctx context.Context, ask coordinator.FetchRequest, credential string) (coordinator.FetchResult, error) {
	call, outcome := s.start(ask)
	answer, err := s.exchange(ctx, call, outcome, credential)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	call.End, call.Err = time.Now(), err
	return answer, err
}

func (s *Source) start(ask coordinator.FetchRequest) (*Call, Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	s.busiest = max(s.busiest, s.busy)
	call := &Call{Ask: ask, At: time.Now()}
	s.calls = append(s.calls, call)
	if len(s.next) == 0 {
		return call, s.byDefault
	}
	outcome := s.next[0]
	s.next = s.next[1:]
	return call, outcome
}

// exchange is what happens in a call: the request travels, the issuer acts, the answer
// travels.
func (s *Source) exchange(ctx context.Context, call *Call, o Outcome, credential string) (coordinator.FetchResult, error) {
	if err := ctx.Err(); err != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedBusy, Message: "the context had ended", Err: err,
		}
	}
	latency := cmp.Or(o.latency, s.Latency)
	if err := sleep(ctx, latency/2); err != nil {
		return coordinator.FetchResult{}, unanswered(err)
	}
	answer, err := s.act(call, o, credential)
	if o.hangs {
		<-ctx.Done()
		return coordinator.FetchResult{}, unanswered(ctx.Err())
	}
	if err := sleep(ctx, latency-latency/2); err != nil {
		return coordinator.FetchResult{}, unanswered(err)
	}
	return answer, err
}

// act is what the issuer does when the request has arrived.
func (s *Source) act(call *Call, o Outcome, credential string) (coordinator.FetchResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted != nil && !slices.Contains(s.accepted, credential) {
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedRefused, Code: "40125", Message: "invalid appsecret", Calls: 1,
		}
	}
	answer := coordinator.FetchResult{Lifetime: s.life(), RefreshIn: s.RefreshIn, Attributes: s.Attributes, Calls: 1}
	if s.States > 0 {
		answer.Lifetime = s.States
	}
	if !o.issuesNothing {
		call.Token = s.issue()
		answer.Token = call.Token
	}
	switch {
	case o.err != nil:
		return coordinator.FetchResult{}, o.err
	case o.answer != nil:
		return *o.answer, nil
	}
	return answer, nil
}

// issue needs mu.
func (s *Source) issue() coordinator.Token {
	if n := len(s.issued); s.Describes.Repeat == coordinator.RepeatSame && n > 0 && time.Since(s.issued[n-1].at) < s.life() {
		return s.issued[n-1].token
	}
	return s.add()
}

// add needs mu.
func (s *Source) add() coordinator.Token {
	token := coordinator.NewToken(fmt.Sprintf("%s-%d", cmp.Or(s.Name, "token"), len(s.issued)+1))
	s.issued = append(s.issued, issued{token: token, at: time.Now()})
	return token
}

func (s *Source) life() time.Duration    { return cmp.Or(s.Life, 2*time.Hour) }
func (s *Source) overlap() time.Duration { return cmp.Or(s.Overlap, 5*time.Minute) }

var errNoAnswer = errors.New("no answer came")

func unanswered(cause error) error {
	return &coordinator.FetchError{
		Kind: coordinator.FailedUnknown, Message: errNoAnswer.Error(), Calls: 1, Err: cause,
	}
}

// sleep waits for d, or for ctx, whose error it returns then.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
