package main

import (
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// newPlatform returns the keeper of the authorizers of a third-party platform.
func newPlatform(c keeperConfig) (keeper, error) {
	v, d := c.config.Values(), c.members.d
	component, err := sources.Component(v)
	if err != nil {
		return nil, err
	}
	return wechat.PlatformConfig{
		Account: c.account, Coordinator: d.zk, Component: component,
		Token: v.Text["callback_token"], EncodingAESKey: v.Text["encoding_aes_key"], PreviousKey: v.Text["previous_encoding_aes_key"],
		Authorizers: sources.Authorizers(v), Following: c.present, Logger: d.log,
		Add: func(appID string, source coordinator.Source, parent string) (*coordinator.Account, error) {
			return c.members.add(c.config, appID, source, parent)
		},
		Remove: c.members.remove,
	}.Platform()
}
