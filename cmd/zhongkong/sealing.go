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

// logRefusedKeys says that new seal keys cannot be used.
func (s *session) logRefusedKeys(err error) { s.log.Error(sealKeysRefused, "error", err) }

const sealKeysRefused = "the new seal keys are refused, the old ones stay in use"

// reloadSealKeys reads the key file again. After an error the old keys stay in use.
func (s *session) reloadSealKeys() error {
	if s.keys == nil {
		return nil
	}
	if err := config.Again(s.started.SealKeyFile); err != nil {
		return err
	}
	if err := s.keys.Reload(); err != nil {
		return err
	}
	s.log.Info("seal keys read again: " + s.sealWords())
	s.resealCopies()
	return nil
}

func (s *session) logSealKeys() {
	if s.keys != nil {
		s.log.Info("seal keys read: " + s.sealWords())
	}
}

// sealWords says what the keys are used for. Which tokens they seal is settled at the start.
func (s *session) sealWords() string {
	writes, reads := "writes with "+s.keys.First(), "reads "+s.keys.Kids()
	switch s.started.Seal {
	case config.SealPrefer:
		reads += " and plain tokens"
	case config.SealAllow:
		writes, reads = "writes plain tokens", reads+" and plain tokens"
	}
	return writes + ", " + reads
}
