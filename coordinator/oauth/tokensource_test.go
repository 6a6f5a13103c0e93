package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// current is an account that counts who asks.
type current struct {
	asked int
	held  coordinator.Snapshot
	err   error
}

func (c *current) Current(ctx context.Context) (coordinator.Snapshot, error) {
	c.asked++
	if c.err == nil && c.held.Token.IsZero() {
		<-ctx.Done()
		return c.held, ctx.Err()
	}
	return c.held, c.err
}

func TestNoLayerOfOAuth2KeepsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := &current{held: coordinator.Snapshot{Record: coordinator.Record{
			Token: coordinator.NewToken("one"), TTL: time.Hour,
			Attributes: map[string]string{"token_type": "bearer", "instance_url": "https://eu7.example.com"},
		}}}
		source := oauth.TokenSource(t.Context(), account)
		first, err := source.Token()
		if err != nil || first.AccessToken != "one" || first.Extra("instance_url") != "https://eu7.example.com" || first.RefreshToken != "" {
			t.Fatalf("Token() = %+v, %v", first, err)
		}
		if left := time.Until(first.Expiry); left != 9*time.Second || first.Type() != "Bearer" {
			t.Errorf("ends in %v, type %s", left, first.Type())
		}
		var got []string
		base := roundTripper(func(req *http.Request) (*http.Response, error) {
			got = append(got, req.Header.Get("Authorization"))
			return answering(200, "", "").RoundTrip(req)
		})
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: base})
		client := oauth2.NewClient(ctx, oauth2.ReuseTokenSource(first, source))
		for _, token := range []string{"one", "two", "three"} {
			account.held.Token = coordinator.NewToken(token)
			if _, err := client.Get("https://api.example.com/"); err != nil {
				t.Fatal(err)
			}
			if got[len(got)-1] != "Bearer "+token {
				t.Errorf("sent %q, want %s", got[len(got)-1], token)
			}
		}
		account.held.TTL = 2 * time.Second
		if last, _ := source.Token(); time.Until(last.Expiry) != 2*time.Second {
			t.Errorf("near its end it ends in %v", time.Until(last.Expiry))
		}
	})
}

func TestATokenSourceDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if _, err := oauth.TokenSource(t.Context(), &current{}).Token(); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// inspected makes a source of x/oauth2's client credentials.
func inspected(url string, style oauth2.AuthStyle) coordinator.Source {
	cfg := &clientcredentials.Config{ClientID: clientID, ClientSecret: secret, TokenURL: url + "/oauth2/token", AuthStyle: style}
	return oauth.FromTokenSource(cfg.TokenSource)
}

func TestATokenSourceOfOAuth2IsASource(t *testing.T) {
	issuer := newIssuer()
	server := httptest.NewServer(issuer)
	defer server.Close()
	s := inspected(server.URL, oauth2.AuthStyleInHeader)
	issuer.Tune(func(k *oauthtest.Knobs) { k.InstanceURL, k.RefreshToken = "https://eu7.example.com", true })
	first, second := fetch(t, s), fetch(t, s)
	if !issuer.Valid(first.Token.Reveal()) || first.Token.Equal(second.Token) || len(issuer.Calls()) != 2 {
		t.Errorf("%+v", issuer.Calls())
	}
	if first.Lifetime > time.Hour || first.Lifetime < 59*time.Minute || first.Attributes["instance_url"] == "" || first.Attributes["token_type"] != "Bearer" ||
		!strings.Contains(first.Doubt, "ignored") {
		t.Errorf("%+v", first)
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.ExpiresIn = "missing" })
	if r := fetch(t, s); r.Lifetime != 10*time.Minute || !strings.Contains(r.Doubt, "no Expiry") {
		t.Errorf("without a life: %+v", r)
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.Echo = true })
	issuer.AddClient(oauthtest.Client{ID: clientID, Secret: "another"})
	if f := refused(t, s); f.Kind != coordinator.FailedRefused || f.Code != "invalid_client" || strings.Contains(everything(f), "s3cret") {
		t.Errorf("%v", f)
	}
	issuer.Inject(oauthtest.Fault{Kind: "error", Error: "slow_down", RetryAfter: "30"})
	if f := refused(t, s); f.Kind != coordinator.FailedLater || f.RetryIn != 30*time.Second {
		t.Errorf("%v", f)
	}
	for _, kind := range []string{"html", "empty", "drop"} {
		issuer.AddClient(oauthtest.Client{ID: clientID, Secret: secret})
		issuer.Inject(oauthtest.Fault{Kind: kind})
		if f := refused(t, s); f.Kind != coordinator.FailedUnknown {
			t.Errorf("%s: %v", kind, f)
		}
	}
	before := len(issuer.Calls())
	issuer.Inject(oauthtest.Fault{Kind: "redirect"})
	if f := refused(t, s); f.Kind != coordinator.FailedBusy || len(issuer.Calls()) != before+1 {
		t.Errorf("redirect: %v", f)
	}
}

func TestACachingTokenSourceIsNoticed(t *testing.T) {
	static := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "tok", Expiry: time.Now().Add(time.Hour)})
	s := oauth.FromTokenSource(func(context.Context) oauth2.TokenSource { return static })
	held := fetch(t, s)
	f := failed(t.Context(), t, s, coordinator.FetchRequest{Reason: coordinator.ReasonForced, Current: held.Token})
	if f.Kind != coordinator.FailedLater || !strings.Contains(f.Message, "cache") {
		t.Errorf("%v", f)
	}
	for _, token := range []*oauth2.Token{nil, {}, {AccessToken: "a b"}, {AccessToken: "tok", Expiry: time.Now().Add(-time.Hour)}} {
		s := oauth.FromTokenSource(func(context.Context) oauth2.TokenSource { return oauth2.StaticTokenSource(token) })
		if f := refused(t, s); f.Kind != coordinator.FailedUnknown {
			t.Errorf("%+v: %v", token, f)
		}
	}
}

// stuck is a TokenSource that takes a minute, whatever its context says.
type stuck struct{ calls atomic.Int64 }

func (s *stuck) Token() (*oauth2.Token, error) {
	s.calls.Add(1)
	time.Sleep(time.Minute)
	return nil, errors.New("late")
}

func TestATokenSourceThatDoesNotEndIsLeftBehindOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behind := &stuck{}
		s := oauth.FromTokenSource(func(context.Context) oauth2.TokenSource { return behind })
		for i, want := range []coordinator.FailureKind{coordinator.FailedUnknown, coordinator.FailedBusy} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if f := failed(ctx, t, s, coordinator.FetchRequest{}); f.Kind != want || behind.calls.Load() != 1 {
				t.Errorf("%d: %v, %d calls", i, f, behind.calls.Load())
			}
			cancel()
		}
		time.Sleep(time.Minute)
		if f := refused(t, s); f.Kind != coordinator.FailedUnknown || behind.calls.Load() != 2 {
			t.Errorf("%v, %d calls", f, behind.calls.Load())
		}
	})
}

func TestAnUnmodifiedClientOfOAuth2TakesTokensOfTheSimulator(t *testing.T) {
	issuer := newIssuer()
	server := httptest.NewServer(issuer)
	defer server.Close()
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams, oauth2.AuthStyleAutoDetect} {
		cfg := clientcredentials.Config{
			ClientID: clientID, ClientSecret: secret, TokenURL: server.URL + "/oauth2/token", Scopes: []string{"a", "b"}, AuthStyle: style,
		}
		resp, err := cfg.Client(t.Context()).Get(server.URL + "/oauth2/resource")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("style %d: %v, %v", style, resp, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
}
