package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// pushSecrets returns the secrets of an account to which its issuer pushes, by field.
// Those that it needs and has not are made up.
func pushSecrets(a *config.Account) map[string]string {
	key := sha256.Sum256([]byte("sandbox-key-of-" + a.Name))
	values, secrets := map[string]string{}, map[string]config.Secret{}
	for field, made := range map[string]string{
		"secret":                    "sandbox-secret-of-" + a.Name,
		"callback_token":            "sandbox-token-of-" + a.Name,
		"encoding_aes_key":          base64.RawStdEncoding.EncodeToString(key[:]),
		"previous_encoding_aes_key": "",
	} {
		if value := cmp.Or(a.Secret(field).Reveal(), made); value != "" {
			values[field], secrets[field] = value, config.NewSecret(value)
		}
	}
	*a = a.WithSecrets(secrets)
	return values
}

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
