package oauth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/tokencall"
)

// Account is what Transport needs of a *coordinator.Account.
type Account interface {
	// Token returns the current token. It may block until there is one.
	Token(ctx context.Context) (coordinator.Token, error)

	// Invalidate reports that a resource server rejected a token. It blocks until there
	// is another and returns the current one.
	Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error)
}

var (
	_ Account        = (*coordinator.Account)(nil)
	_ CurrentAccount = (*coordinator.Account)(nil)
)

// Transport is an http.RoundTripper that puts the account's token into each request's
// Authorization header as a bearer token (RFC 6750). When the answer rejects the token
// (see RejectedToken), it reports exactly that token and repeats the request once with
// the new one, if the body can be sent again: there is none, the request has GetBody,
// or the body has at most 256 KiB. Otherwise, and if there is no other token, the caller
// gets the answer. If the new token is rejected as well, the token is not the reason:
// what that host rejects is then not reported for a minute, if that repeats for up to
// five.
//
// The token is sent only to Hosts, and not with a redirect to another host. Account and
// Hosts must be set:
//
//	client := &http.Client{Transport: &oauth.Transport{Account: account, Hosts: []string{"api.example.com"}}}
type Transport struct {
	Account Account

	// Base makes the calls; nil: http.DefaultTransport.
	Base http.RoundTripper

	// Hosts are those that may receive the token, by https: "api.example.com", with a
	// port if it is not the scheme's, or "*.example.com" for every host below it. One
	// that begins with http:// may be sent to unencrypted: "http://10.0.0.7:8080".
	Hosts []string

	distrust distrust
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call := tokencall.Call{
		Account: t.Account,
		Base:    t.Base,
		Check:   t.check,
		Put: func(out *http.Request, token coordinator.Token) {
			out.Header.Set("Authorization", "Bearer "+token.Reveal())
		},
		Rejects: func(resp *http.Response) bool {
			return RejectedToken(resp) && t.distrust.believed(req.URL.Host)
		},
		Repeated: func(resp *http.Response) { t.distrust.learn(req.URL.Host, RejectedToken(resp)) },
	}
	return call.RoundTrip(req)
}

// check refuses hosts that must not receive a token.
func (t *Transport) check(req *http.Request) error {
	if !t.allowed(req.URL) {
		return fmt.Errorf("oauth: %s://%s must not receive a token: it is not in Transport.Hosts", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// allowed reports whether u may receive the token.
func (t *Transport) allowed(u *url.URL) bool {
	for _, entry := range t.Hosts {
		entry, plain := strings.CutPrefix(strings.ToLower(entry), "http://")
		if u.Scheme != "https" && (!plain || u.Scheme != "http") {
			continue
		}
		host := strings.ToLower(u.Host)
		if below, ok := strings.CutPrefix(entry, "*."); ok && strings.HasSuffix(host, "."+below) || host == entry {
			return true
		}
	}
	return false
}
