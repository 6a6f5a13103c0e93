package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// sandboxAuthorizer is the account that has authorized each platform of the simulator.
const sandboxAuthorizer = "wx00000000sandbox"

// servePlatform adds a third-party platform to the simulator, with an account that has
// authorized it.
func (s *sandboxServer) servePlatform(a *config.Account) error {
	a.APIBase = s.url()
	key := sha256.Sum256([]byte("sandbox-key-of-" + a.Name))
	given := func(field, otherwise string) string { return cmp.Or(a.Secret(field).Reveal(), otherwise) }
	c := wechattest.Component{
		AppID:          sources.PlatformAppID(a.Values()),
		Secret:         given("secret", "sandbox-secret-of-"+a.Name),
		Token:          given("callback_token", "sandbox-token-of-"+a.Name),
		EncodingAESKey: given("encoding_aes_key", base64.RawStdEncoding.EncodeToString(key[:])),
		PreviousKey:    given("previous_encoding_aes_key", ""),
	}
	secrets := map[string]config.Secret{}
	for field, value := range map[string]string{
		"secret": c.Secret, "callback_token": c.Token, "encoding_aes_key": c.EncodingAESKey, "previous_encoding_aes_key": c.PreviousKey,
	} {
		if value != "" {
			secrets[field] = config.NewSecret(value)
		}
	}
	*a = a.WithSecrets(secrets)
	c.URL, c.Handler = s.callbackTo(a.Name)
	err := s.wechat.AddComponent(c)
	if err != nil || len(s.wechat.Authorizers(c.AppID)) > 0 {
		return err
	}
	_, err = s.wechat.Authorize(c.AppID, sandboxAuthorizer)
	return err
}
