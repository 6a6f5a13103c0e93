package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// sandboxCorp is the corp that has installed each suite of the simulator.
const sandboxCorp = "ww00000000sandbox"

// callbackTo returns where the simulator pushes to: the URL of an account, and what
// takes it in this process; nil: it goes over the network.
func (s *sandboxServer) callbackTo(account string) (url string, handler http.Handler) {
	path := "/callback/" + account
	if s.callbackBase != "" {
		return s.callbackBase + path, nil
	}
	return "http://127.0.0.1" + path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := s.target.Load(); h != nil {
			(*h).ServeHTTP(w, r)
			return
		}
		http.Error(w, "not started yet", http.StatusServiceUnavailable)
	})
}

// push pushes what issuers push, until ctx ends. In the process of serve, target takes it.
func (s *sandboxServer) push(ctx context.Context, target http.Handler) {
	if target != nil {
		s.target.Store(&target)
	}
	var pushing sync.WaitGroup
	pushing.Go(func() { s.wechat.RunPushes(ctx, nil) }) // ends with ctx
	s.wecom.Run(ctx)
	pushing.Wait()
}

// serveSuite adds a suite to the simulator, with a corp that has it.
func (s *sandboxServer) serveSuite(a *config.Account) error {
	a.APIBase = s.url() + sandboxWeCom
	key := sha256.Sum256([]byte("sandbox-key-of-" + a.Name))
	given := func(field, otherwise string) string { return cmp.Or(a.Secret(field).Reveal(), otherwise) }
	values := map[string]string{
		"secret":           given("secret", "sandbox-secret-of-"+a.Name),
		"callback_token":   given("callback_token", "sandbox-token-of-"+a.Name),
		"encoding_aes_key": given("encoding_aes_key", base64.RawStdEncoding.EncodeToString(key[:])),
	}
	secrets := map[string]config.Secret{}
	for field, value := range values {
		secrets[field] = config.NewSecret(value)
	}
	*a = a.WithSecrets(secrets)
	id := sources.SuiteID(a.Values())
	url, handler := s.callbackTo(a.Name)
	err := s.wecom.AddSuite(wecomtest.Suite{
		SuiteID: id, Secret: values["secret"], Custom: wecom.IsCustom(id),
		Callback: wecomtest.Callback{URL: url, Handler: handler, Token: values["callback_token"], AESKey: values["encoding_aes_key"]},
	})
	if err != nil || len(s.wecom.Installs(id)) > 0 {
		return err
	}
	_, err = s.wecom.Install(id, sandboxCorp)
	return err
}
