package main

import (
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
	secrets := pushSecrets(a)
	c := wechattest.Component{
		AppID: sources.PlatformAppID(a.Values()), Secret: secrets["secret"], Token: secrets["callback_token"],
		EncodingAESKey: secrets["encoding_aes_key"], PreviousKey: secrets["previous_encoding_aes_key"],
	}
	c.URL, c.Handler = s.callbackTo(a.Name)
	err := s.wechat.AddComponent(c)
	if err != nil || len(s.wechat.Authorizers(c.AppID)) > 0 {
		return err
	}
	_, err = s.wechat.Authorize(c.AppID, sandboxAuthorizer)
	return err
}
