package wechat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// service is WeChat's hosts as a source calls them.
type service struct {
	bases   []string // the first is the one to ask
	client  *httpsource.Client
	timeout time.Duration // of one request
}

// ask is a kind of request.
type ask struct {
	path       string
	member     member // what the token is called in the answer
	idempotent bool   // the answer to a second one is that to the first
	maxBody    int    // of the answer, in bytes; 0: httpsource.MaxBody
	request    func(ctx context.Context, url string) (*http.Request, error)
}

// at names where the request goes, for messages.
func (a ask) at(base string) string {
	if _, host, ok := strings.Cut(base, "://"); ok {
		base = host
	}
	return base + a.path
}

// send makes one request. A reply that breaks off after its end is one.
func (s *service) send(ctx context.Context, base string, a ask) (reply, *httpsource.Error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := a.request(ctx, base+a.path)
	if err != nil {
		return reply{}, &httpsource.Error{Err: errors.New("the request cannot be made")} // err holds the URL
	}
	answer, err := s.client.Do(req, max(int64(a.maxBody), httpsource.MaxBody)+1)
	var r reply
	if answer != nil {
		r = reply{Response: *answer, base: base, member: a.member}
	}
	if failed, ok := errors.AsType[*httpsource.Error](err); ok && (answer == nil || !r.complete()) {
		return reply{}, failed
	}
	return r, nil
}

// withQuery makes GET requests with a query.
func withQuery(query url.Values) func(context.Context, string) (*http.Request, error) {
	return func(ctx context.Context, address string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+query.Encode(), nil)
	}
}

const grantType = "client_credential"

// classic issues a new token each time.
func (s *Source) classic() ask {
	return ask{path: "/cgi-bin/token", member: accessToken, request: withQuery(url.Values{
		"grant_type": {grantType}, "appid": {s.appID}, "secret": {s.secret},
	})}
}

// stable returns the current token, or issues a new one, at most once in 30 s, if it is
// forced.
func (s *Source) stable(force bool) ask {
	return ask{path: "/cgi-bin/stable_token", member: accessToken, idempotent: !force, request: withBody(nil, struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{grantType, s.appID, s.secret, force})}
}

// withBody makes POST requests with a query and a JSON object.
func withBody(query url.Values, object any) func(context.Context, string) (*http.Request, error) {
	return func(ctx context.Context, address string) (*http.Request, error) {
		body, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		if len(query) > 0 {
			address += "?" + query.Encode()
		}
		// A bytes.Reader gives the request its Content-Length: WeChat's gateway
		// answers a chunked one with an empty 412.
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		return req, nil
	}
}
