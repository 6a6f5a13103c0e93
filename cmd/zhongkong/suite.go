package main

import (
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
)

// newSuite returns the keeper of the corps of a suite.
func newSuite(c keeperConfig) (keeper, error) {
	v := c.config.Values()
	d := c.members.d
	config := wecom.SuiteConfig{
		SuiteID: sources.SuiteID(v), CorpID: v.Text["corpid"], Corps: sources.Authorizers(v),
		Token: v.Text["callback_token"], EncodingAESKey: v.Text["encoding_aes_key"], PreviousKey: v.Text["previous_encoding_aes_key"],
		Account: c.account, Coordinator: d.zk, Grants: d.store, Following: c.present, BaseURL: v.APIBase, Logger: d.log,
		Add: func(name string, source coordinator.Source, parent string) (*coordinator.Account, error) {
			return c.members.add(c.config, name, source, parent)
		},
		Remove: c.members.remove,
	}
	d.grantDirs.keepGrants(&config.Spool, &config.Copy)
	return wecom.NewSuite(config)
}
