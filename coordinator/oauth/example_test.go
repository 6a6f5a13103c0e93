package oauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// exampleAccount returns an account of a source.
func exampleAccount(source coordinator.Source) *coordinator.Account {
	c, err := coordinator.New(coordinator.Config{
		Store:    memstore.New(), // a redisstore.Store, for a fleet
		Accounts: []coordinator.AccountConfig{{Name: "crm", Source: source}},
	})
	if err != nil {
		panic(err)
	}
	account, _ := c.Account("crm")
	return account
}

// Tokens by client credentials, and a service that uses them.
func ExampleConfig() {
	issuer := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "billing", Secret: "its secret"}}})
	source, err := oauth.Config{
		TokenURL:     "https://login.example.com/oauth2/token",
		ClientID:     "billing",
		ClientSecret: "its secret",
		ClientAuth:   oauth.Basic,
		Scopes:       []string{"invoices.read"},
		Transport:    issuer.Transport(), // leave it out to ask a real issuer
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	account := exampleAccount(source)

	client := &http.Client{Transport: &oauth.Transport{
		Account: account,
		Hosts:   []string{"api.example.com"},
		Base:    issuer.Transport(), // leave it out to call a real service
	}}
	for range 2 {
		resp, err := client.Get("https://api.example.com/oauth2/resource")
		if err != nil {
			fmt.Println(err)
			return
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, string(text))
		issuer.Revoke("billing") // the second request meets a dead token
	}
	// Output:
	// 200 {"client":"billing","ok":true}
	// 200 {"client":"billing","ok":true}
}

// The account for a library that takes an oauth2.TokenSource.
func ExampleTokenSource() {
	issuer := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "billing", Secret: "its secret"}}})
	source, err := oauth.Config{
		TokenURL: "https://login.example.com/oauth2/token", ClientID: "billing", ClientSecret: "its secret", Transport: issuer.Transport(),
	}.Source()
	if err != nil {
		fmt.Println(err)
		return
	}
	account := exampleAccount(source)

	tokens := oauth.TokenSource(context.Background(), account)
	token, err := tokens.Token()
	fmt.Println(issuer.Valid(token.AccessToken), token.Type(), err)
	// Output: true Bearer <nil>
}

// A configuration of x/oauth2 as the source of an account.
func ExampleFromTokenSource() {
	cfg := &clientcredentials.Config{
		TokenURL: "http://127.0.0.1:1/oauth2/token", ClientID: "billing", ClientSecret: "its secret", AuthStyle: oauth2.AuthStyleInHeader,
	}
	account := exampleAccount(oauth.FromTokenSource(cfg.TokenSource))
	_, err := account.Refresh(context.Background())
	fmt.Println(strings.HasPrefix(err.Error(), "the TokenSource failed"))
	// Output: true
}
