package oauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"tok","token_type":"Bearer","expires_in":3600,"scope":"a b"}`,
		`{"access_token":"a.eyJjbmYiOnsieDV0I1MyNTYiOiJ4In19.c","expires_in":"60","refresh_token":"r"}`,
		`{"error":"invalid_client","error_description":"no: topmost-secret"}`, `{"error":{"code":401,"message":"topmost-secret"}}`,
		`access_token=tok&expires_in=3600`, `{"token":"ghs_x","expires_at":"2006-01-02T15:04:05Z"}`, `{"message":"Not Found"}`, `<html>`,
		"\x1f\x8b\x08", `{"access_token":"tok","expires_in":1e400}`, `{"error":"\u0000topmost-secret"}`, `{"scope":["a"],"access_token":"t"}`,
	} {
		for _, status := range []int{200, 201, 400, 429, 503} {
			f.Add(status, "text/plain", body, "1")
		}
	}
	var answer http.RoundTripper // the one to give next; a worker fuzzes one at a time
	transport := roundTripper(func(req *http.Request) (*http.Response, error) { return answer.RoundTrip(req) })
	sources := []*oauth.Source{
		sourceOf(f, oauth.Config{TokenURL: tokenURL, ClientID: "c", ClientSecret: "topmost-secret", Transport: transport}),
		sourceOf(f, oauth.Config{
			TokenURL: tokenURL, Grant: oauth.RefreshToken, ClientID: "c", ClientSecret: "topmost-secret", Transport: transport,
		}),
		sourceOf(f, oauth.GitHubApp{AppID: "1", InstallationID: "2", PrivateKey: pemOf(f, keyOf("RSA")), Transport: transport}),
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body, header string) {
		answer = answering(status, contentType, body, "Retry-After", header, "X-RateLimit-Reset", header, "Date", header)
		for _, s := range sources {
			r, err := s.Fetch(t.Context(), ofGrant("topmost-secret too"))
			if err != nil {
				checkFailure(t, err)
				continue
			}
			token, size := r.Token.Reveal(), 0
			for name, value := range r.Attributes {
				size += len(name) + len(value)
			}
			if token == "" || !httpsource.Printable(token) || r.Lifetime <= 0 || r.Lifetime > coordinator.MaxLifetime || size > coordinator.MaxAttributes {
				t.Errorf("%q for %v with %d bytes of attributes", token, r.Lifetime, size)
			}
			if text := fmt.Sprint(r.Doubt, r.Attributes); strings.Contains(text, "topmost-secret") || len(token) >= 8 && strings.Contains(text, token) {
				t.Errorf("a secret in %s", text)
			}
		}
	})
}

func checkFailure(t *testing.T, err error) {
	t.Helper()
	var f *coordinator.FetchError
	if !errors.As(err, &f) || f.Calls != 1 || f.Kind == "" || f.RetryIn < 0 || f.RetryIn > coordinator.MaxRetry || len(f.Code) > 64 {
		t.Fatalf("Fetch() = %#v", err)
	}
	if text := everything(f); strings.Contains(text, "topmost-secret") || strings.ContainsAny(f.Message, "\n\r\x00") {
		t.Errorf("%q", text)
	}
}
