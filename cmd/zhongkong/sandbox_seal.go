package main

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// useSandboxKey seals grants, which are stored sealed only, with a key that everybody
// knows: those of a simulator are worth nothing. Tokens are stored plain.
func useSandboxKey(options *redisstore.Options) error {
	key := sha256.Sum256([]byte("zhongkong sandbox"))
	keys, err := seal.Parse("the key of the simulator", []byte("sandbox:"+base64.StdEncoding.EncodeToString(key[:])+"\n"))
	if err != nil {
		return err
	}
	options.Sealer, options.Sealing = keys, redisstore.SealAllow
	return nil
}
