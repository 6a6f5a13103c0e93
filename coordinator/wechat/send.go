package wechat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// send makes one request. A reply that breaks off after its end is one.
func (s *Source) send(ctx context.Context, base string, m mode) (reply, *httpsource.Error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := s.request(ctx, base, m)
	if err != nil {
		return reply{}, &httpsource.Error{Err: err}
	}
	answer, err := s.client.Do(req, httpsource.MaxBody+1)
	var r reply
	if answer != nil {
		r = reply{Response: *answer, base: base}
	}
	var failed *httpsource.Error
	if errors.As(err, &failed) && (answer == nil || !r.complete()) {
		return reply{}, failed
	}
	return r, nil
}

func (s *Source) request(ctx context.Context, base string, m mode) (*http.Request, error) {
	const grantType = "client_credential"
	if m == classic {
		query := url.Values{"grant_type": {grantType}, "appid": {s.appID}, "secret": {s.secret}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+m.path()+"?"+query.Encode(), nil)
		if err != nil {
			return nil, errors.New("the request cannot be made") // err holds the URL
		}
		req.Header.Set("User-Agent", userAgent)
		return req, nil
	}
	body, err := json.Marshal(struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{grantType, s.appID, s.secret, m == forced})
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	// A bytes.Reader gives the request its Content-Length: WeChat's gateway
	// answers a chunked one with an empty 412.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+m.path(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

const userAgent = "zhongkong"

func (m mode) path() string {
	if m == classic {
		return "/cgi-bin/token"
	}
	return "/cgi-bin/stable_token"
}

// endpoint names where a request of this mode goes, for messages.
func (s *Source) endpoint(m mode, base string) string {
	if _, host, ok := strings.Cut(base, "://"); ok {
		base = host
	}
	return base + m.path()
}
