package wechat

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/internal/tokencall"
)

// Account is what Transport needs of a *coordinator.Account.
type Account interface {
	// Token returns the current token. It may block until there is one.
	Token(ctx context.Context) (coordinator.Token, error)

	// Invalidate reports that WeChat rejected a token. It blocks until there is
	// another and returns the current one.
	Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error)
}

var _ Account = (*coordinator.Account)(nil)

// Transport is an http.RoundTripper for WeChat's business interfaces. It puts
// the account's token into each request's query as access_token. When WeChat
// rejects the token (40001, 40014 or 42001) it reports exactly that token and
// repeats the call once with the new one, if the body can be sent again: there is
// none, the request has GetBody, or the body has at most 256 KiB. Otherwise, and if
// there is no other token, the caller gets WeChat's answer.
//
// The token is sent only to https://*.weixin.qq.com and to Hosts, and not with a
// redirect to another host. Only Account must be set:
//
//	client := &http.Client{Transport: &wechat.Transport{Account: account}}
type Transport struct {
	Account Account

	// Base makes the calls; nil: http.DefaultTransport.
	Base http.RoundTripper

	// Hosts ("host" or "host:port") are further hosts that may receive the token,
	// even by plain HTTP: a sandbox, a proxy.
	Hosts []string
}

const tokenParameter = "access_token"

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call := tokencall.Call{
		Account: t.Account,
		Base:    t.Base,
		Check:   t.check,
		Put: func(out *http.Request, token coordinator.Token) {
			out.URL.RawQuery = withToken(out.URL.RawQuery, token)
		},
		Rejects: func(resp *http.Response) bool {
			code, _ := PeekErrcode(resp)
			return IsTokenRejected(code)
		},
		Received: hideToken,
	}
	return call.RoundTrip(req)
}

// check refuses hosts that must not receive a token.
func (t *Transport) check(req *http.Request) error {
	if slices.Contains(t.Hosts, req.URL.Host) || slices.Contains(t.Hosts, req.URL.Hostname()) {
		return nil
	}
	if !source.IsWeixin(req.URL.Hostname()) {
		return fmt.Errorf("wechat: %s must not receive a token: it is neither a host of WeChat nor listed in Transport.Hosts", req.URL.Host)
	}
	if req.URL.Scheme != "https" {
		return fmt.Errorf("wechat: a token may be sent to %s only by https", req.URL.Host)
	}
	return nil
}

// withToken returns the query with the token in place of any other token.
func withToken(query string, token coordinator.Token) string {
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return pair == "" || name == tokenParameter
	})
	return strings.Join(append(kept, tokenParameter+"="+url.QueryEscape(token.Reveal())), "&")
}

// hideToken removes the token from a redirect that repeats the query: the client
// would send it to the redirect's target and quote it in errors.
func hideToken(header http.Header, token coordinator.Token) {
	location := header.Get("Location")
	if location == "" {
		return
	}
	if u, err := url.Parse(location); err == nil && u.RawQuery != "" {
		q := u.Query()
		if q.Has(tokenParameter) {
			q.Del(tokenParameter)
			u.RawQuery = q.Encode()
			location = u.String()
		}
	}
	header.Set("Location", httpsource.Scrub(location, token.Reveal()))
}
