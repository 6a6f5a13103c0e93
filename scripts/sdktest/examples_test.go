package sdktest

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	silenceper "github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/officialaccount"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/util"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

// What the page has of Go stands in this file as it is there.

// toRoute sends calls to a route of Zhongkong.
type toRoute struct{ *url.URL }

func (to toRoute) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = to.Scheme, to.Host, ""
	return http.DefaultTransport.RoundTrip(r)
}

// current gives an SDK the token of an account.
type current struct{ *coordinator.Account }

func (c current) GetAccessToken() (string, error) {
	token, err := c.Token(context.Background())
	return token.Reveal(), err
}

func linked(account *coordinator.Account) *officialaccount.OfficialAccount {
	sdk := silenceper.NewWechat()
	sdk.SetHTTPClient(&http.Client{Transport: &wechat.Transport{Account: account}})
	official := sdk.GetOfficialAccount(&config.Config{AppID: account.Name(), Cache: cache.NewMemory()})
	official.SetAccessTokenHandle(current{account})
	return official
}

func setURIModifier() {
	util.SetURIModifier(func(uri string) string {
		return strings.Replace(uri, "https://api.weixin.qq.com", "http://127.0.0.1:8090", 1)
	})
}

// example is one of the examples in Go, at work.
type example struct {
	official *officialaccount.OfficialAccount
	err      error
}

// openExample opens an example in the driver for Go.
func openExample(r request) *example {
	base, err := url.Parse(r.Base)
	if err != nil {
		return &example{err: err}
	}
	plain := silenceper.NewWechat()
	of := &config.Config{AppID: r.AppID, AppSecret: r.Secret, Cache: cache.NewMemory()}
	switch r.SDK {
	case exampleModifier:
		setURIModifier()
		elsewhere(&url.URL{Scheme: "http", Host: "127.0.0.1:8090"}, base)
	case exampleRoute:
		plain.SetHTTPClient(&http.Client{Transport: toRoute{base}})
	case exampleLinked:
		elsewhere(&url.URL{Scheme: "https", Host: "api.weixin.qq.com"}, base)
		account, err := reader(r)
		if err != nil {
			return &example{err: err}
		}
		return &example{official: linked(account)}
	}
	return &example{official: plain.GetOfficialAccount(of)}
}

const (
	exampleModifier = "example: SetURIModifier"
	exampleRoute    = "example: toRoute"
	exampleLinked   = "example: wechat.Transport"
)

// elsewhere makes http.DefaultTransport send to another host what is for one.
func elsewhere(one, another *url.URL) {
	base := http.DefaultTransport
	http.DefaultTransport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme != one.Scheme || r.URL.Host != one.Host {
			return base.RoundTrip(r)
		}
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = another.Scheme, another.Host
		return base.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reader is an account that this process reads. It is read until the process ends.
func reader(r request) (*coordinator.Account, error) {
	store, err := redisstore.Open("redis://"+r.Redis, redisstore.Options{})
	if err != nil {
		return nil, err
	}
	c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: r.AppID}}})
	if err != nil {
		return nil, err
	}
	c.Start(context.Background())
	account, _ := c.Account(r.AppID)
	return account, nil
}

func (e *example) Call() error {
	if e.err != nil {
		return e.err
	}
	_, err := e.official.GetBasic().GetCallbackIP()
	return err
}

func (e *example) Token() error       { return e.err }
func (e *example) Login(string) error { return e.err }
