package sources

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// Where a value is the unexported field of another, fmt does not call its Format, and a verb
// that does not fit has fmt follow pointers.
func TestNoExportedTypePrintsTheSecretsInIt(t *testing.T) {
	const (
		secret = "topmost-secret"
		key    = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
		before = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	)
	must := func(v any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	store := memstore.New().Instance("test")
	zk := must(coordinator.New(coordinator.Config{Store: store})).(*coordinator.Coordinator)
	account := must(zk.Add(coordinator.AccountConfig{Name: "suite", Source: new(coordinatortest.Source)})).(*coordinator.Account)
	component := must(wechat.ComponentConfig{AppID: "wxplatform", Secret: secret}.Source()).(*wechat.ComponentSource)
	platform := wechat.PlatformConfig{
		Account: account, Coordinator: zk, Component: component, Token: secret, EncodingAESKey: key, PreviousKey: before,
	}
	suite := wecom.SuiteConfig{
		SuiteID: "wwsuite", Token: secret, EncodingAESKey: key, PreviousKey: before, Account: account, Coordinator: zk, Grants: store,
		Add:    func(string, coordinator.Source, string) (*coordinator.Account, error) { return nil, nil },
		Remove: zk.Remove,
	}
	crypt := msgcrypt.Config{Token: secret, EncodingAESKey: key, PreviousKey: before, Receivers: []string{"wwsuite"}}
	client := oauth.Config{
		Grant: oauth.RefreshToken, AuthURL: "https://example.com/authorize", TokenURL: "https://example.com/token", ClientID: "client", ClientSecret: secret,
	}
	login := must(client.Login()).(*oauth.Login)
	request := must(login.Code("http://127.0.0.1/")).(*oauth.CodeRequest)
	verifier := reflect.ValueOf(request).Elem().FieldByName("verifier").String()
	sealed := []byte("this is a key of 32 bytes: 67890")
	for _, v := range []any{
		wechat.Config{AppID: "wxapp", Secret: secret}, must(wechat.Config{AppID: "wxapp", Secret: secret}.Source()),
		wechat.ComponentConfig{AppID: "wxplatform", Secret: secret}, component, platform, must(platform.Platform()),
		wecom.Config{CorpID: "wwcorp", Secret: secret}, must(wecom.Config{CorpID: "wwcorp", Secret: secret}.Source()),
		suite, must(wecom.NewSuite(suite)), crypt, must(crypt.Codec()),
		client, must(client.Source()), login, request,
		must(seal.Parse("keys", []byte("k1:"+base64.StdEncoding.EncodeToString(sealed)))),
		&wechat.Transport{Account: account}, &oauth.Transport{Account: account}, zk, account,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			for _, s := range []string{secret, key, before, verifier, string(sealed)} {
				numbers := strings.Trim(fmt.Sprintf("%d", []byte(s)), "[]")
				if strings.Contains(text, s) || strings.Contains(text, fmt.Sprintf("%x", s)) || strings.Contains(text, numbers) {
					t.Errorf("%T printed with %s has a secret: %s", v, verb, text)
				}
			}
		}
	}
}
