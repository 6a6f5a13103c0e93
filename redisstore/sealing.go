package redisstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// Sealing says which form of tokens a Store with a Sealer writes and reads. The names
// are those of PostgreSQL's sslmode.
//
// The processes of a fleet are switched one by one, and each must read what the
// others write. So a fleet goes from plain tokens to sealed ones by the steps no
// Sealer, SealAllow, SealPrefer, SealRequire, and back the other way, and all its
// processes take a step before the first of them takes the next. Before the last
// step, in either direction, each account must have been refreshed once.
type Sealing int

// The steps. The zero value is the last one.
const (
	SealRequire Sealing = iota // writes sealed tokens, reads sealed ones only
	SealPrefer                 // writes sealed tokens, reads plain ones too
	SealAllow                  // writes plain tokens, reads sealed ones too
)

// Sealer encrypts tokens. What it seals can be opened only for the Binding that
// it was sealed for.
type Sealer interface {
	Seal(b Binding, t coordinator.Token) (string, error)
	Open(b Binding, sealed string) (coordinator.Token, error)
}

// Resealer is what a Sealer is besides that has several keys: what a key has sealed that
// is to be removed is sealed again. Tokens are replaced by themselves, grants are not.
type Resealer interface {
	Sealer

	// Outdated reports whether another key has sealed it than the one that seals now.
	Outdated(sealed string) bool
}

// Binding is what a sealed token is bound to. Without the key a sealed token cannot be
// used for another account, in another deployment, in the place of a newer token, or
// after its end.
type Binding struct {
	Prefix     string // Options.Prefix: the deployment
	Account    string
	Generation coordinator.Fence

	// Grant says that it is not a token but a grant. Generation is the version of its
	// record then, and ExpiresAt is zero: neither can be put in the place of the other.
	Grant bool

	// ExpiresAt is the token's end by the clock of Redis. A record that is restored
	// to a Redis with a different clock may have an end that differs by
	// BindingSlack.
	ExpiresAt time.Time
}

// BindingSlack is how much later the end of a record may be than the end that its
// token was sealed with.
const BindingSlack = 10 * time.Minute

// checkSealing reports options that contradict each other.
func (o *Options) checkSealing() error {
	switch {
	case o.Sealing < SealRequire || o.Sealing > SealAllow:
		return fmt.Errorf("redisstore: Options.Sealing is %d; it must be SealRequire, SealPrefer or SealAllow", o.Sealing)
	case o.Sealing != SealRequire && o.Sealer == nil:
		return errors.New("redisstore: Options.Sealing needs Options.Sealer")
	}
	return nil
}

// seal returns what is stored of a token. It uses the generation and the end of r.
func (s *Store) seal(account string, r coordinator.Record) (string, error) {
	switch {
	case r.Token.IsZero():
		return "", errors.New("there is no token")
	case s.sealer != nil && s.sealing != SealAllow:
		return s.sealer.Seal(s.binding(account, r), r.Token)
	case layout.Sealed(r.Token.Reveal()):
		// Other processes would take it for a sealed token.
		return "", errors.New("the token has the form of a sealed one (JWE); switch sealing on to store it")
	}
	return r.Token.Reveal(), nil
}

// binding is what a sealed token is bound to.
func (s *Store) binding(account string, r coordinator.Record) Binding {
	return Binding{Prefix: s.keys.Prefix, Account: account, Generation: r.Generation, ExpiresAt: r.ExpiresAt}
}

// open returns the token of what is stored. It never returns sealed text as a token.
// If sealing is required, it refuses plain text: otherwise a program that can write to
// Redis could replace the token of the fleet.
func (s *Store) open(account string, r coordinator.Record, stored string) (coordinator.Token, error) {
	switch {
	case !layout.Sealed(stored) && s.sealer != nil && s.sealing == SealRequire:
		return coordinator.Token{}, fmt.Errorf("%w: account %q: it is not sealed, and this process takes sealed ones only; "+
			"while a fleet is switched to sealing, run every process with seal: prefer (--seal prefer)",
			coordinator.ErrSealed, account)
	case !layout.Sealed(stored):
		return coordinator.NewToken(stored), nil
	case s.sealer == nil:
		return coordinator.Token{}, fmt.Errorf("%w: account %q: it is sealed and this process has no key; give it the key file (--seal-key-file)",
			coordinator.ErrSealed, account)
	}
	t, err := s.sealer.Open(s.binding(account, r), stored)
	if err != nil && !errors.Is(err, coordinator.ErrSealed) {
		err = fmt.Errorf("%w: %w", coordinator.ErrSealed, err)
	}
	return t, err
}
