package wecom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// service is WeCom's host as a source calls it.
type service struct {
	base    string
	client  *httpsource.Client
	timeout time.Duration // of one request
}

func (c Config) service() (service, error) {
	base, err := source.BaseURL(cmp.Or(c.BaseURL, DefaultBaseURL), DefaultBaseURL)
	if err != nil {
		return service{}, fmt.Errorf("api_base: %w", err)
	}
	return service{
		base:    base,
		client:  httpsource.NewClient(c.Transport, cmp.Or(max(c.ConnectTimeout, 0), defaultConnectTimeout)),
		timeout: cmp.Or(max(c.Timeout, 0), defaultTimeout),
	}, nil
}

// request is what is asked of WeCom.
type request struct {
	endpoint
	query      url.Values
	body       any       // sent as JSON; nil: it is a GET
	secrets    []string  // which no error may hold
	sendBefore time.Time // it is not sent from then on; zero: no bound
	once       bool      // the answer comes once: what is whole of a damaged one counts
}

// send makes one request. Its answer has a value.
func (s *service) send(ctx context.Context, q request) (answer, *coordinator.FetchError) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if ctx.Err() != nil {
		return answer{}, s.transportFailed(q, &httpsource.Error{Err: context.Cause(ctx)})
	}
	if !q.sendBefore.IsZero() && !time.Now().Before(q.sendBefore) {
		return answer{}, s.transportFailed(q, &httpsource.Error{Err: errors.New("it is too late to send the request")})
	}
	req, err := source.NewRequest(ctx, s.base+q.path, q.query, q.body)
	if err != nil {
		err = errors.New("the request cannot be made") // err holds the URL
		return answer{}, s.transportFailed(q, &httpsource.Error{Err: err})
	}
	response, err := s.client.Do(req, int64(q.maxBody())+1)
	var broken *httpsource.Error
	if errors.As(err, &broken) && response == nil {
		return answer{}, s.transportFailed(q, broken)
	}
	a, err := q.parse(response.Body)
	switch {
	case err != nil && broken != nil:
		return answer{}, s.transportFailed(q, broken)
	case err == nil && a.value != "":
		return a, nil
	case err == nil && response.Status/100 != 5 && !response.GaveUp():
		return answer{}, q.said(response, newError(a.code, httpsource.Scrub(a.message, q.secrets...), response.Status))
	case gatewayError(response) != nil:
		err = gatewayError(response)
	}
	return answer{}, &coordinator.FetchError{
		Kind: response.Kind(), RetryIn: response.RetryAfter(), Message: fmt.Sprintf("%s answered %v", s.where(q), err), Calls: 1,
	}
}

// where names where a request goes, for messages.
func (s *service) where(q request) string {
	_, host, _ := strings.Cut(s.base, "://")
	return host + q.path
}

func (s *service) transportFailed(q request, e *httpsource.Error) *coordinator.FetchError {
	failure := e.Failure(q.secrets...)
	failure.Message = s.where(q) + ": " + failure.Message
	return failure
}

// said is the failure for an errcode.
func (q request) said(r *httpsource.Response, e *Error) *coordinator.FetchError {
	class := q.classify(e.Code)
	failure := &coordinator.FetchError{
		Kind: class.Kind, Code: coordinator.NumericCode(e.Code), RetryIn: class.RetryIn, Here: class.Here,
		Message: source.Advice(e.Message, class.Meaning, class.Hint), Calls: 1, Err: e,
	}
	if e.Code == codeTooOften {
		failure.RetryIn = blockedFor(e.Message, r.Now())
	}
	return failure
}

// blockedFor returns for how long calls wait after a 45009, by the quota that the message
// says is used up: 60 s for that of a minute, 60 minutes for that of an hour, until its
// reset for that of a day.
func blockedFor(message string, now time.Time) time.Duration {
	message = strings.ToLower(message)
	switch {
	case strings.Contains(message, "minute"):
		return time.Minute
	case strings.Contains(message, "hour"):
		return time.Hour
	case strings.Contains(message, "day") || strings.Contains(message, "daily"):
		return source.UntilQuotaReset(now)
	}
	return blockedRetry
}
