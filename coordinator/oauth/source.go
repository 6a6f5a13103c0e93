package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Source fetches the tokens of one account from an OAuth2 issuer. It is safe for
// concurrent use. Config, GoogleServiceAccount and GitHubApp make one.
type Source struct {
	name        string // for Format
	endpoint    string // host and path, for messages
	issuer      issuer
	client      *httpsource.Client
	timeout     time.Duration // 0: only the context bounds a call
	credential  string
	description coordinator.Description
	hidden      bool // the endpoint answers 404 without a credential
}

var (
	_ coordinator.Source       = (*Source)(nil)
	_ coordinator.Credentialed = (*Source)(nil)
	_ coordinator.Described    = (*Source)(nil)
)

// Credential implements [coordinator.Credentialed]. It covers the client's secret, key
// or certificate, and what is asked for with it.
func (s *Source) Credential() string { return s.credential }

// Description implements [coordinator.Described].
func (s *Source) Description() coordinator.Description { return s.description }

// Format prints the source without its secrets, whatever the verb.
func (s *Source) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "oauth.Source(%s %s)", s.name, s.endpoint)
}

// Fetch implements [coordinator.Source]. It sends at most one request. Its errors are
// *coordinator.FetchError and hold neither secrets nor tokens; what the issuer answered
// is in them as an *Error.
func (s *Source) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if ctx.Err() != nil {
		return coordinator.FetchResult{}, s.unsent(coordinator.FailedBusy, context.Cause(ctx))
	}
	if s.description.Grant.Needed && req.Grant.Token.IsZero() {
		return coordinator.FetchResult{}, s.unsent(coordinator.FailedBusy, errors.New("there is no refresh token to present"))
	}
	m, err := s.issuer.message(time.Now(), req)
	if err != nil {
		return coordinator.FetchResult{}, s.unsent(coordinator.FailedRefused, err)
	}
	m.secrets = append(m.secrets, req.Current.Reveal())
	answer, failed := s.send(ctx, m)
	if answer == nil {
		return coordinator.FetchResult{}, failed
	}
	r := reply{Response: answer, message: m, endpoint: s.endpoint, cut: failed != nil}
	g, failure := s.issuer.grant(r)
	switch {
	case failure != nil && failed != nil: // it broke off, and what came is not an answer
		return g.rest(), failed
	case failure != nil:
		return g.rest(), failure
	}
	if req.Reason.Demanded() && req.Current.Equal(g.token) && s.description.Repeat != coordinator.RepeatSame {
		g.doubt("the issuer answered the token that it had given before: if it always does while that lives, set repeat: same")
	}
	return g.result(), nil
}

// send sends m. If the answer broke off, it returns both what came and the failure.
func (s *Source) send(ctx context.Context, m *message) (*httpsource.Response, *coordinator.FetchError) {
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, strings.NewReader(m.body))
	if err != nil {
		return nil, s.unsent(coordinator.FailedRefused, errors.New("the request cannot be made")) // err holds the URL
	}
	req.Header = m.header
	late := bounded(req, m.sendBefore)
	answer, err := s.client.Do(req, httpsource.MaxBody+1)
	if answer == nil && late() {
		return nil, s.unsent(coordinator.FailedBusy, errTooLate)
	}
	var failed *httpsource.Error
	if !errors.As(err, &failed) {
		return answer, nil
	}
	failure := failed.Failure(m.secrets...)
	failure.Message = s.endpoint + ": " + failure.Message
	return answer, failure
}

// unsent is the failure of a Fetch that sent nothing.
func (s *Source) unsent(kind coordinator.FailureKind, err error) *coordinator.FetchError {
	return &coordinator.FetchError{Kind: kind, Message: s.endpoint + ": " + err.Error(), Err: err}
}

func newClient(rt http.RoundTripper, connectTimeout time.Duration) *httpsource.Client {
	return httpsource.NewClient(rt, cmp.Or(connectTimeout, defaultConnectTimeout))
}
