package main

import (
	"context"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// refreshes reports whether an account lives on a refresh token.
func refreshes(a *config.Account) bool {
	return a.Source == sources.OAuth2 && a.Text("grant") == string(oauth.RefreshToken)
}

// serveGrant points an account that lives on a refresh token at the simulator, which does
// with refresh tokens what the profile of the last such account says.
func (s *sandboxServer) serveGrant(a *config.Account) {
	*a = a.WithText("auth_url", s.url()+"/oauth2/authorize").WithText("device_url", s.url()+"/oauth2/device")
	if a.Text("client_auth") == string(oauth.NoAuth) { // here it gets a secret like every other
		*a = a.WithText("client_auth", string(oauth.Post))
	}
	if p, known := oauth.ProfileNamed(a.Text("profile")); known {
		s.oauth.Tune(func(k *oauthtest.Knobs) { k.Refresh = oauthtest.KnobsOf(p) })
	}
}

// consentInSandbox consents in the place of a person to the accounts that live on a
// refresh token. The simulator's refresh tokens end with it, so this replaces those that
// are stored. An account that has had one, before a reload, keeps it. It is called by one
// goroutine at a time.
func (d *daemon) consentInSandbox(ctx context.Context) {
	if d.sandbox == nil {
		return
	}
	cfg := d.current.Load()
	for i := range cfg.Accounts {
		a := &cfg.Accounts[i]
		account, known := d.zk.Account(a.Name)
		client := a.Text("client_id")
		if !refreshes(a) || !known || d.sandbox.consents[a.Name] == client {
			continue
		}
		d.sandbox.consents[a.Name] = client
		_, token := d.sandbox.oauth.Consent(client, "")
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		if err := account.Consent(ctx, coordinator.Consent{Token: coordinator.NewToken(token)}); err != nil {
			d.log.Warn("the simulator's consent is not stored, so the account gets no token", "account", a.Name, "error", err)
		}
		cancel()
	}
}
