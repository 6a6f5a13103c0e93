package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/redisstore"
)

// importGrant puts in a refresh token that was obtained elsewhere.
func importGrant(ctx context.Context, s *session, c *cli.Context, args []string) error {
	account, err := s.grantAccount(ctx, args)
	if err != nil {
		return err
	}
	consent, err := consentOf(c, account)
	if err != nil {
		return err
	}
	a, err := s.storing(ctx, account.Name)
	if err != nil {
		return err
	}
	text, err := s.readGrant(ctx)
	if err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	if !httpapi.IsRefreshToken(text) {
		return usagef("stdin must be the refresh token alone, one word, and nothing else: visible ASCII characters, at most 8192")
	}
	consent.Token = coordinator.NewToken(text)
	return s.consent(ctx, a, consent)
}

// consentOf returns how long a grant lives that is put in now, as far as that is known.
func consentOf(c *cli.Context, a config.Account) (coordinator.Consent, error) {
	consent := coordinator.Consent{Idle: grantIdle(a)} // not Ends, which counts from the person's consent
	if text := c.String("expires-in"); text != "" {
		d, err := config.ParseDuration(text)
		if err != nil || d <= 0 {
			return consent, usagef("--expires-in: %q is not a duration above 0: write a number with a unit, such as 720h", text)
		}
		consent.Idle = d
	}
	return consent, nil
}

// grantIdle returns how long an account's refresh token lives if it is not used; 0: not
// known.
func grantIdle(a config.Account) time.Duration {
	if p, known := oauth.ProfileNamed(a.Text("profile")); known && a.Source == sources.OAuth2 {
		return p.Idle.Duration()
	}
	return 0
}

// readGrant reads the refresh token, without an echo if it is typed. Of a file or a pipe it
// reads all: a token that was wrapped must not be taken for its first line.
func (s *session) readGrant(ctx context.Context) (string, error) {
	if terminal, ok := s.terminal(); ok {
		return s.prompt(ctx, terminal, "Refresh token: ")
	}
	return s.readAll(ctx)
}

// grantAccount returns the configured account that a command puts a grant in for.
func (s *session) grantAccount(ctx context.Context, args []string) (config.Account, error) {
	if needing := s.cfg.NeedsGrants(); len(args) == 0 && len(needing) == 1 {
		args = needing
	}
	if len(args) > 1 {
		return config.Account{}, usagef("it takes one NAME; a refresh token comes from stdin, and never as an argument")
	}
	name, err := s.oneAccount(ctx, s.cfg, args)
	if err != nil {
		return config.Account{}, err
	}
	a, configured := s.cfg.Account(name)
	switch {
	case !configured: // NAME is not repeated: it may be a refresh token by mistake
		give := "give --config and its NAME"
		if names := s.configuredNames(); len(names) > 0 {
			give = "it has " + list(names)
		}
		return a, usagef("the account is not in the configuration, which says how its issuer is asked: %s; "+
			"a refresh token comes from stdin, and never as an argument", give)
	case a.Grant.Received:
		return a, usagef("account %q: the issuer pushes what it needs: nothing can be put in", name)
	case !a.Grant.Needed:
		return a, usagef("account %q needs no grant: only an account with source: oauth2 and grant: refresh_token does, with its client_secret here", name)
	}
	return a, nil
}

// storing returns the account that is to store a grant. A person is asked for one only after
// that: what keeps it from being stored would be found too late, because nobody else has it.
func (s *session) storing(ctx context.Context, name string) (*coordinator.Account, error) {
	zk, err := s.coordinator(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if _, err := s.store.LoadGrant(ctx, name); err != nil {
		return nil, s.withAdvice(err)
	}
	a, _ := zk.Account(name)
	return a, nil
}

// storeFor is for how long a grant is stored again and again: a person has consented, and
// there is no other copy of it.
const storeFor = 2 * time.Minute

// consent stores a grant in place of the one before. When ctx ends it goes on storing, for
// the process may have the only copy; a second interrupt ends it, see main.
func (s *session) consent(ctx context.Context, a *coordinator.Account, consent coordinator.Consent) error {
	defer context.AfterFunc(ctx, func() {
		fmt.Fprintf(s.stderr, "zhongkong: the grant is being stored: waiting up to %s; a second interrupt ends this at once and may lose it\n", brief(storeFor))
	})()
	ctx, cancel := context.WithTimeout(coordinator.WithCaller(context.WithoutCancel(ctx), whoRuns()+" (cli)"), storeFor)
	defer cancel()
	if err := s.persist(ctx, func() error { return a.Consent(ctx, consent) }); err != nil {
		return s.withAdvice(notStored(err))
	}
	fmt.Fprintf(s.stderr, "The grant of %s is stored%s.\n", escape(a.Name()), livesFor(consent))
	return nil
}

// notStored adds to the error what has become of the grant: a refresh token that is stored and
// used elsewhere as well is lost.
func notStored(err error) error {
	switch {
	case errors.Is(err, coordinator.ErrNotCopied):
		return err
	case errors.Is(err, coordinator.ErrUnconfirmed), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("the grant may be stored and in use: repeat the command, and use its refresh token nowhere else: %w", err)
	}
	return fmt.Errorf("the grant was not stored: %w", err)
}

// persist stores a grant, again while Redis is away, until ctx ends. A grant that is
// stored already, though its answer was lost, stays as it is.
func (s *session) persist(ctx context.Context, store func() error) error {
	const every = time.Second
	wait := sync.OnceFunc(func() {
		fmt.Fprintf(s.stderr, "Redis cannot be reached: trying again for %g minutes; do not close this\n", storeFor.Minutes())
	})
	slow := time.AfterFunc(commandTimeout, wait) // store repeats what may be stored itself
	defer slow.Stop()
	for {
		err := store()
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		wait()
		if !pause(ctx, every) {
			return err
		}
	}
}

// passes reports whether what kept a grant from being stored passes by itself.
func passes(err error) bool {
	if errors.Is(err, redisstore.ErrDenied) {
		return false
	}
	return errors.Is(err, coordinator.ErrUnreachable) || errors.Is(err, coordinator.ErrUnconfirmed) ||
		errors.Is(err, context.DeadlineExceeded) || isA[*coordinator.UnsettledError](err)
}

// livesFor says how long a grant lives.
func livesFor(c coordinator.Consent) string {
	var parts []string
	if c.Idle > 0 {
		parts = append(parts, fmt.Sprintf("ends after %s without use", brief(c.Idle)))
	}
	if c.Ends > 0 {
		parts = append(parts, fmt.Sprintf("ends in %s in any case", brief(c.Ends)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; it " + strings.Join(parts, ", and ")
}
