package main

import (
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// sandboxCorp is the corp that has installed each suite of the simulator.
const sandboxCorp = "ww00000000sandbox"

// serveSuite adds a suite to the simulator, with a corp that has it.
func (s *sandboxServer) serveSuite(a *config.Account) error {
	a.APIBase = s.url() + sandboxWeCom
	secrets := pushSecrets(a)
	id := sources.SuiteID(a.Values())
	url, handler := s.callbackTo(a.Name)
	err := s.wecom.AddSuite(wecomtest.Suite{
		SuiteID: id, Secret: secrets["secret"], Custom: wecom.IsCustom(id),
		Callback: wecomtest.Callback{URL: url, Handler: handler, Token: secrets["callback_token"], AESKey: secrets["encoding_aes_key"]},
	})
	if err != nil || len(s.wecom.Installs(id)) > 0 {
		return err
	}
	_, err = s.wecom.Install(id, sandboxCorp)
	return err
}
