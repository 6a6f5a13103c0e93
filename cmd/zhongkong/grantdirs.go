package main

import (
	"context"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// grantDirs are the directories in which grants are kept outside of Redis. A nil one is
// not configured.
type grantDirs struct {
	spool *grantfile.Spool
	copy  *grantfile.Copy

	resealAt  time.Time // when to seal copies again, because the last try failed; zero: never
	resealErr string    // of that try, which is logged once
}

// openGrantDirs opens the configured directories.
func (s *session) openGrantDirs() error {
	var err error
	if dir := s.cfg.GrantSpool; dir != "" && s.grantDirs.spool == nil {
		if s.grantDirs.spool, err = grantfile.OpenSpool(dir, s.store.Instance(), s.grantSealer(sealedSpool)); err != nil {
			return &configError{fmt.Errorf("%s: %w", s.cfg.Where("grants.spool"), err)}
		}
	}
	if dir := s.cfg.GrantCopy; dir != "" && s.grantDirs.copy == nil {
		if s.grantDirs.copy, err = grantfile.OpenCopy(dir, s.grantSealer(sealedCopy)); err != nil {
			return &configError{fmt.Errorf("%s: %w", s.cfg.Where("grants.copy"), err)}
		}
		s.resealCopies()
	}
	return nil
}

// resealEvery is how often copies that could not be sealed again are tried.
const resealEvery = time.Minute

// resealAgain calls resealCopies if the last try failed, and the time for the next has come.
func (s *session) resealAgain(now time.Time) {
	if at := s.grantDirs.resealAt; !at.IsZero() && !now.Before(at) {
		s.resealCopies()
	}
}

// resealCopies seals what an older key has sealed again, so that the key can be removed.
func (s *session) resealCopies() {
	if s.grantDirs.copy == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	err := s.grantDirs.copy.Reseal(ctx)
	if err == nil {
		s.grantDirs.resealAt, s.grantDirs.resealErr = time.Time{}, ""
		return
	}
	s.grantDirs.resealAt = time.Now().Add(resealEvery)
	if text := err.Error(); text != s.grantDirs.resealErr {
		s.grantDirs.resealErr = text
		s.log.Warn("copies of grants stay sealed with an older key: keep it in the key file; they are tried again every minute", "error", err)
	}
}

// keepGrants sets the fields of a configuration to the directories that are open.
func (g grantDirs) keepGrants(spool *coordinator.GrantSpool, copies *coordinator.GrantCopy) {
	if g.spool != nil {
		*spool = g.spool
	}
	if g.copy != nil {
		*copies = g.copy
	}
}

func (g grantDirs) close() {
	if g.spool != nil {
		_ = g.spool.Close() // what is in it is kept by another process
	}
}

// The places outside of Redis where grants are written down. What was sealed for one is
// not accepted in another.
const (
	sealedSpool  = "spool"
	sealedCopy   = "copy"
	sealedExport = "export"
)

func (s *session) grantSealer(place string) grantSealer {
	return grantSealer{keys: s.keys, place: s.prefix + "{" + place + "}"} // no prefix has braces
}

// grantSealer seals what is kept of grants outside of Redis: a JWE like those in Redis,
// bound to the account, the prefix and the place.
type grantSealer struct {
	keys  *seal.Keyring
	place string
}

var _ grantfile.Resealer = grantSealer{}

func (g grantSealer) binding(account string) redisstore.Binding {
	return redisstore.Binding{Prefix: g.place, Account: account, Grant: true}
}

func (g grantSealer) Seal(account string, plain []byte) (string, error) {
	return g.keys.Seal(g.binding(account), coordinator.NewToken(string(plain)))
}

func (g grantSealer) Open(account, sealed string) ([]byte, error) {
	t, err := g.keys.Open(g.binding(account), sealed)
	return []byte(t.Reveal()), err
}

func (g grantSealer) Outdated(sealed string) bool { return g.keys.Outdated(sealed) }

// warnOfGrants logs what a configuration lacks to keep grants.
func (d *daemon) warnOfGrants(cfg *config.Config) {
	needing := cfg.NeedsGrants()
	if len(needing) == 0 {
		return
	}
	if cfg.GrantSpool == "" {
		d.log.Warn(fmt.Sprintf("grants.spool is not set: if this process is killed while Redis does not answer, a refresh token that was just issued is lost, and a person has to log in again (%s)", list(needing)))
	}
	if cfg.GrantCopy == "" {
		d.log.Warn(fmt.Sprintf("grants.copy is not set: if Redis loses its disk, the grants are lost, and a person has to log in again (%s)", list(needing)))
	}
}
