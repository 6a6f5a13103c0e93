package wechat

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// service is WeChat's hosts as a source calls them.
type service struct {
	bases   []string // the first is the one to ask
	client  *httpsource.Client
	timeout time.Duration // of one request
}

// request is what is asked of WeChat.
type request struct {
	path       string
	query      url.Values
	body       any    // sent as JSON; nil: it is a GET
	member     member // what the token is called in the answer
	idempotent bool   // the answer to a second one is that to the first
	maxBody    int    // of the answer, in bytes; 0: httpsource.MaxBody
}

// to returns q as it is sent to a host. Its error may hold the query.
func (q request) to(ctx context.Context, base string) (*http.Request, error) {
	return source.NewRequest(ctx, base+q.path, q.query, q.body)
}

// at names where the request goes, for messages.
func (q request) at(base string) string {
	if _, host, ok := strings.Cut(base, "://"); ok {
		base = host
	}
	return base + q.path
}

// send makes one request. A reply that breaks off after its end is one.
func (s *service) send(ctx context.Context, base string, q request) (reply, *httpsource.Error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := q.to(ctx, base)
	if err != nil {
		return reply{}, &httpsource.Error{Err: errors.New("the request cannot be made")} // err holds the URL
	}
	answer, err := s.client.Do(req, max(int64(q.maxBody), httpsource.MaxBody)+1)
	var r reply
	if answer != nil {
		r = reply{Response: *answer, base: base, member: q.member}
	}
	if failed, ok := errors.AsType[*httpsource.Error](err); ok && (answer == nil || !r.complete()) {
		return reply{}, failed
	}
	return r, nil
}

const grantType = "client_credential"

// classic issues a new token each time.
func (s *Source) classic() request {
	return request{path: "/cgi-bin/token", member: accessToken, query: url.Values{
		"grant_type": {grantType}, "appid": {s.appID}, "secret": {s.secret},
	}}
}

// stable returns the current token, or issues a new one, at most once in 30 s, if it is
// forced.
func (s *Source) stable(force bool) request {
	return request{path: "/cgi-bin/stable_token", member: accessToken, idempotent: !force, body: struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{grantType, s.appID, s.secret, force}}
}
