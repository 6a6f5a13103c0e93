package wecom

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

const userAgent = "zhongkong"

// cautiousLife is the assumed life of a value that came without one.
const cautiousLife = 10 * time.Minute

// endpoint is how a kind is asked for.
type endpoint struct {
	path   string
	member string // of the answer, which has the value

	// ofParent returns the query for a child of the account with this token. Nil: the
	// kind is no child.
	ofParent func(token coordinator.Token) url.Values
}

func (k Kind) endpoint() endpoint {
	switch k {
	case Provider:
		return endpoint{path: "/cgi-bin/service/get_provider_token", member: "provider_access_token"}
	case JSAPITicket:
		return endpoint{"/cgi-bin/get_jsapi_ticket", "ticket", func(token coordinator.Token) url.Values {
			return url.Values{"access_token": {token.Reveal()}}
		}}
	case AgentTicket:
		return endpoint{"/cgi-bin/ticket/get", "ticket", func(token coordinator.Token) url.Values {
			return url.Values{"access_token": {token.Reveal()}, "type": {"agent_config"}}
		}}
	default:
		return endpoint{path: "/cgi-bin/gettoken", member: "access_token"}
	}
}

// call makes one request.
func (s *Source) call(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, *coordinator.FetchError) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	secrets := []string{s.secret, ask.Current.Reveal(), ask.Parent.Token.Reveal()}
	if ctx.Err() != nil {
		return coordinator.FetchResult{}, s.transportFailed(&httpsource.Error{Err: context.Cause(ctx)}, secrets)
	}
	req, err := s.request(ctx, ask.Parent.Token)
	if err != nil {
		err = errors.New("the request cannot be made") // err holds the URL
		return coordinator.FetchResult{}, s.transportFailed(&httpsource.Error{Err: err}, secrets)
	}
	response, err := s.client.Do(req, httpsource.MaxBody+1)
	var broken *httpsource.Error
	if errors.As(err, &broken) && response == nil {
		return coordinator.FetchResult{}, s.transportFailed(broken, secrets)
	}
	a, err := parseAnswer(response.Body, s.kind.endpoint().member)
	switch {
	case err != nil && broken != nil:
		return coordinator.FetchResult{}, s.transportFailed(broken, secrets)
	case err == nil && a.value != "":
		return s.result(a, ask.Current), nil
	case err == nil && response.Status/100 != 5 && !response.GaveUp():
		return coordinator.FetchResult{}, s.said(response, newError(a.code, httpsource.Scrub(a.message, secrets...), response.Status))
	case gatewayError(response) != nil:
		err = gatewayError(response)
	}
	return coordinator.FetchResult{}, &coordinator.FetchError{
		Kind: response.Kind(), RetryIn: response.RetryAfter(), Message: fmt.Sprintf("%s answered %v", s.endpoint(), err), Calls: 1,
	}
}

func (s *Source) request(ctx context.Context, parent coordinator.Token) (*http.Request, error) {
	e := s.kind.endpoint()
	if s.kind == Provider {
		return s.providerRequest(ctx, s.base+e.path)
	}
	query := url.Values{"corpid": {s.corpID}, "corpsecret": {s.secret}}
	if e.ofParent != nil {
		query = e.ofParent(parent)
	}
	return newRequest(ctx, http.MethodGet, s.base+e.path+"?"+query.Encode(), nil)
}

func (s *Source) providerRequest(ctx context.Context, address string) (*http.Request, error) {
	body, err := json.Marshal(struct {
		CorpID string `json:"corpid"`
		Secret string `json:"provider_secret"`
	}{s.corpID, s.secret})
	if err != nil {
		return nil, err
	}
	return newRequest(ctx, http.MethodPost, address, body)
}

// newRequest returns a request. Its error may hold the address.
func newRequest(ctx context.Context, method, address string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// endpoint names where the requests go, for messages.
func (s *Source) endpoint() string {
	_, host, _ := strings.Cut(s.base, "://")
	return host + s.kind.endpoint().path
}

// result plans the next question for just after the end of a value that has less than
// a period left: asked before, WeCom answers the same value.
func (s *Source) result(a answer, current coordinator.Token) coordinator.FetchResult {
	const after = time.Second // expires_in is rounded down
	r := coordinator.FetchResult{Token: coordinator.NewToken(a.value), Lifetime: a.life, Calls: 1}
	switch {
	case a.life == 0:
		r.Lifetime, r.Doubt = cautiousLife, "a value without a plausible expires_in"
	case a.life > s.every():
	case r.Token.Equal(current):
		r.RefreshIn = a.life + after
	default:
		r.RefreshIn = a.life // the end is the limit for a value that is seen first
	}
	return r
}

func (s *Source) transportFailed(e *httpsource.Error, secrets []string) *coordinator.FetchError {
	failure := e.Failure(secrets...)
	failure.Message = s.endpoint() + ": " + failure.Message
	return failure
}

// said is the failure for an errcode.
func (s *Source) said(r *httpsource.Response, e *Error) *coordinator.FetchError {
	class := Classify(e.Code)
	if s.isTicket() {
		class = ClassifyTicket(e.Code)
	}
	failure := &coordinator.FetchError{
		Kind: class.Kind, Code: coordinator.NumericCode(e.Code), RetryIn: class.RetryIn, Message: source.Advice(e.Message, class.Meaning, class.Hint), Calls: 1, Err: e,
	}
	if e.Code == codeTooOften {
		failure.RetryIn = blockedFor(e.Message, r.Now())
	}
	return failure
}

// blockedFor returns for how long calls wait after a 45009: 60 s if the message says that
// the quota of a minute is used up, 60 minutes for that of an hour, until midnight for
// that of a day.
func blockedFor(message string, now time.Time) time.Duration {
	message = strings.ToLower(message)
	switch {
	case strings.Contains(message, "minute"):
		return time.Minute
	case strings.Contains(message, "hour"):
		return time.Hour
	case strings.Contains(message, "day") || strings.Contains(message, "daily"):
		return untilMidnight(now)
	}
	return blockedRetry
}

// untilMidnight returns the time until the next day begins in China, at least a minute:
// clocks differ.
func untilMidnight(now time.Time) time.Duration {
	const day, china = 24 * time.Hour, 8 * time.Hour
	local := now.UTC().Add(china)
	return max(local.Truncate(day).Add(day).Sub(local), time.Minute)
}

// refusal remembers that WeCom refused the credential. The store does so for all
// processes, but of one credential and not for a refresh that is forced. Two processes
// with different wrong secrets would send theirs by turns, and a service that forces a
// refresh whenever it has no token would send one a minute.
type refusal struct {
	mu    sync.Mutex // guards what follows
	last  *coordinator.FetchError
	until time.Time
}

// standing returns the refusal while the credential must not be sent again.
func (r *refusal) standing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := time.Until(r.until)
	if r.last == nil || left <= 0 {
		return nil
	}
	again := *r.last
	again.RetryIn, again.Calls = left, 0
	return &again
}

// note takes in how a call ended.
func (r *refusal) note(err *coordinator.FetchError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = nil
	if err != nil && err.Kind == coordinator.FailedRefused && err.RetryIn > 0 {
		r.last, r.until = err, time.Now().Add(err.RetryIn)
	}
}
