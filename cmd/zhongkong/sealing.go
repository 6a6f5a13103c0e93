package main

import (
	"fmt"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func (s *session) useSealKeys(options *redisstore.Options) error {
	path := s.cfg.SealKeyFile
	switch {
	case path == "" && s.sandboxed:
		return useSandboxKey(options)
	case path == "":
		return nil
	}
	keys, err := seal.Load(path, s.log)
	if err != nil {
		return &configError{fmt.Errorf("--seal-key-file: %w", err)}
	}
	s.keys, options.Sealer = keys, keys
	options.Sealing = map[string]redisstore.Sealing{
		config.SealRequire: redisstore.SealRequire,
		config.SealPrefer:  redisstore.SealPrefer,
		config.SealAllow:   redisstore.SealAllow,
	}[s.cfg.Seal]
	return nil
}

func (s *session) sealWords() string {
	writes, reads := "writes with "+s.keys.First(), "reads "+s.keys.Kids()
	switch s.cfg.Seal {
	case config.SealPrefer:
		reads += " and plain tokens"
	case config.SealAllow:
		writes, reads = "writes plain tokens", reads+" and plain tokens"
	}
	return writes + ", " + reads
}
