package wecom

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// caller makes requests to WeCom.
type caller struct {
	base    string
	client  *httpsource.Client
	timeout time.Duration // of one request
}

// newCaller returns the caller that c describes.
func (c Config) newCaller() (caller, error) {
	base, err := source.BaseURL(cmp.Or(c.BaseURL, DefaultBaseURL), DefaultBaseURL)
	if err != nil {
		return caller{}, fmt.Errorf("api_base: %w", err)
	}
	return caller{
		base:    base,
		client:  httpsource.NewClient(c.Transport, cmp.Or(max(c.ConnectTimeout, 0), defaultConnectTimeout)),
		timeout: cmp.Or(max(c.Timeout, 0), defaultTimeout),
	}, nil
}

// question is one request.
type question struct {
	endpoint
	query      url.Values
	fields     map[string]string // of the body; nil: it is a GET
	secrets    []string          // which no error may hold
	sendBefore time.Time         // it is not sent from then on; zero: no bound
}

// ask makes one request. Its answer has a value.
func (c *caller) ask(ctx context.Context, q question) (answer, *coordinator.FetchError) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if ctx.Err() != nil {
		return answer{}, c.transportFailed(q, &httpsource.Error{Err: context.Cause(ctx)})
	}
	if !q.sendBefore.IsZero() && !time.Now().Before(q.sendBefore) {
		return answer{}, c.transportFailed(q, &httpsource.Error{Err: errors.New("it is too late to send the request")})
	}
	req, err := newCall(ctx, c.base+q.path, q.query, q.fields)
	if err != nil {
		err = errors.New("the request cannot be made") // err holds the URL
		return answer{}, c.transportFailed(q, &httpsource.Error{Err: err})
	}
	response, err := c.client.Do(req, httpsource.MaxBody+1)
	var broken *httpsource.Error
	if errors.As(err, &broken) && response == nil {
		return answer{}, c.transportFailed(q, broken)
	}
	a, err := parseAnswer(response.Body, q.member)
	switch {
	case err != nil && broken != nil:
		return answer{}, c.transportFailed(q, broken)
	case err == nil && a.value != "":
		return a, nil
	case err == nil && response.Status/100 != 5 && !response.GaveUp():
		return answer{}, q.said(response, newError(a.code, httpsource.Scrub(a.message, q.secrets...), response.Status))
	case gatewayError(response) != nil:
		err = gatewayError(response)
	}
	return answer{}, &coordinator.FetchError{
		Kind: response.Kind(), RetryIn: response.RetryAfter(), Message: fmt.Sprintf("%s answered %v", c.where(q), err), Calls: 1,
	}
}

// where names where a request goes, for messages.
func (c *caller) where(q question) string {
	_, host, _ := strings.Cut(c.base, "://")
	return host + q.path
}

func (c *caller) transportFailed(q question, e *httpsource.Error) *coordinator.FetchError {
	failure := e.Failure(q.secrets...)
	failure.Message = c.where(q) + ": " + failure.Message
	return failure
}

// said is the failure for an errcode.
func (q question) said(r *httpsource.Response, e *Error) *coordinator.FetchError {
	class := q.classify(e.Code)
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

// newCall returns a POST of fields, a GET if there are none. Its error may hold the
// address.
func newCall(ctx context.Context, address string, query url.Values, fields map[string]string) (*http.Request, error) {
	if query != nil {
		address += "?" + query.Encode()
	}
	if fields == nil {
		return newRequest(ctx, http.MethodGet, address, nil)
	}
	body, err := json.Marshal(fields)
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
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}
