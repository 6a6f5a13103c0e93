package httpsource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// source gets tokens from an issuer that is asked by POST.
type source struct {
	url    string
	body   []byte
	client *httpsource.Client
}

func (s *source) Fetch(ctx context.Context, _ coordinator.FetchRequest) (coordinator.FetchResult, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(s.body))
	if err != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedRefused, Message: "the URL cannot be used"}
	}
	answer, err := s.client.Do(req, 64<<10)
	var failed *httpsource.Error
	switch {
	case errors.As(err, &failed):
		return coordinator.FetchResult{}, failed.Failure()
	case answer.Status == http.StatusUnauthorized: // the issuer's word that it issued nothing
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedRefused, Code: "401", Message: "wrong secret", Calls: 1}
	}
	var token struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(answer.Body, &token); err != nil {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedUnknown, Message: "the answer is not JSON", Calls: 1}
	}
	return coordinator.FetchResult{
		Token: coordinator.NewToken(token.AccessToken), Lifetime: time.Duration(token.ExpiresIn) * time.Second,
	}, nil
}

// A Source for an issuer of your own.
func ExampleClient() {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"access_token":"token-1","expires_in":7200}`)
	}))
	defer issuer.Close()

	client := httpsource.NewClient(nil, 3*time.Second)
	c, err := coordinator.New(coordinator.Config{
		Store: memstore.New(),
		Accounts: []coordinator.AccountConfig{
			{Name: "ours", Source: &source{issuer.URL, []byte(`{"secret":"..."}`), client}},
			{Name: "away", Source: &source{"http://127.0.0.1:1", nil, client}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := c.Token(context.Background(), "ours")
	fmt.Println(token.Reveal(), err)

	away, _ := c.Account("away")
	_, err = away.Refresh(context.Background())
	var failed *coordinator.FetchError
	fmt.Println(errors.As(err, &failed), failed.Kind, failed.Calls)
	// Output:
	// token-1 <nil>
	// true busy 0
}

// A source for an issuer that a preset describes.
func ExampleConfig() {
	wire, _ := httpsourcetest.WireOf("kuaishou")
	simulator := httpsourcetest.New(httpsourcetest.Config{Wire: wire})
	source, err := httpsource.Config{
		Preset:     "kuaishou",
		Parameters: map[string]string{"app_id": "ks707065143182458884", "app_secret": "9VfzaT-7Jf1bBHv-veFZfg"},
		Transport:  simulator.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := source.Fetch(context.Background(), coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	fmt.Println(got.Token, got.Lifetime, got.Attributes["token_type"], err)
	fmt.Println(source.Description().Repeat)

	_, err = httpsource.Config{Preset: "kuaishou"}.Source()
	fmt.Println(err)
	// Output:
	// [token] 48h0m0s bearer <nil>
	// keeps
	// httpsource: app_id: is missing
	// app_secret: is missing
}
