package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

const (
	tokenURL = "https://issuer.example.com/oauth2/token"
	clientID = "client: 1&2"            // what RFC 6749 wants encoded in a Basic header
	secret   = "s3cret+%/=:& with that" // the same
)

// keyOf returns a key of a kind, always the same in a run: making one takes long.
var keyOf = func() func(kind string) crypto.Signer {
	var mu sync.Mutex
	made := map[string]crypto.Signer{}
	return func(kind string) crypto.Signer {
		mu.Lock()
		defer mu.Unlock()
		if made[kind] == nil {
			var err error
			switch kind {
			case "RSA":
				made[kind], err = rsa.GenerateKey(rand.Reader, 2048)
			case "P-256":
				made[kind], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			case "P-384":
				made[kind], err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			case "Ed25519":
				_, made[kind], err = ed25519.GenerateKey(rand.Reader)
			}
			if err != nil {
				panic(err)
			}
		}
		return made[kind]
	}
}()

// pemOf returns a key as a PKCS #8 PEM file.
func pemOf(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func newIssuer(clients ...oauthtest.Client) *oauthtest.Server {
	if clients == nil {
		clients = []oauthtest.Client{{ID: clientID, Secret: secret}}
	}
	return oauthtest.New(oauthtest.Config{Clients: clients})
}

// configured returns the usual configuration, with changes.
func configured(issuer *oauthtest.Server, changes ...func(*oauth.Config)) oauth.Config {
	c := oauth.Config{TokenURL: tokenURL, ClientID: clientID, ClientSecret: secret, Transport: issuer.Transport()}
	for _, change := range changes {
		change(&c)
	}
	return c
}

type maker interface{ Source() (*oauth.Source, error) }

func sourceOf(t testing.TB, m maker) *oauth.Source {
	t.Helper()
	s, err := m.Source()
	if err != nil {
		t.Fatalf("Source() = %v", err)
	}
	return s
}

func fetch(t testing.TB, s coordinator.Source, req ...coordinator.FetchRequest) coordinator.FetchResult {
	t.Helper()
	r, err := s.Fetch(t.Context(), append(req, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})[0])
	if err != nil {
		t.Fatalf("Fetch() = %v", err)
	}
	return r
}

// refused fetches and returns the failure there must be.
func refused(t testing.TB, s coordinator.Source) *coordinator.FetchError {
	t.Helper()
	return failed(t.Context(), t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
}

func failed(ctx context.Context, t testing.TB, s coordinator.Source, req coordinator.FetchRequest) *coordinator.FetchError {
	t.Helper()
	r, err := s.Fetch(ctx, req)
	var f *coordinator.FetchError
	if !errors.As(err, &f) {
		t.Fatalf("Fetch() = %v, %v; want a *FetchError", r, err)
	}
	return f
}

// answering is an http.RoundTripper with one answer.
func answering(status int, contentType, body string, header ...string) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: readCloser{strings.NewReader(body)}, Request: req}, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// everything is all that a failure may show.
func everything(f *coordinator.FetchError) string {
	return fmt.Sprintf("%v %s %v %+v", f, f.Message, f.Err, f.Code)
}
