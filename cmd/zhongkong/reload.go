package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
)

// reloadChanged applies a change of the files. The HTTP server follows its certificate
// itself.
func (d *daemon) reloadChanged(asked bool) {
	if !asked {
		d.reload()
		return
	}
	d.tellManager(systemd.SdNotifyReloading)
	d.reload()
	d.reloadCertificate()
	d.tellManager(systemd.SdNotifyReady)
}

// reload reads the configuration again. A refused one changes nothing.
func (d *daemon) reload() {
	next, err := d.loadAgain(d.input)
	var kept []string
	if err == nil {
		kept = d.keepRouted(next)
		err = d.checkAccounts(next)
	}
	if err == nil {
		err = d.reloadUsers(next)
	}
	if err == nil && d.sandbox != nil {
		err = d.sandbox.replaceIssuers(next) // checkAccounts has tried it: it cannot be undone
	}
	if err != nil {
		d.log.Error("the new configuration is refused, the old one stays in use", "error", err)
		return
	}
	for _, w := range next.Warnings {
		d.log.Warn(w)
	}
	if fixed := next.Fixed(d.started); len(fixed) > 0 {
		d.log.Warn("these settings take effect at the next start", "settings", fixed)
	}
	if len(kept) > 0 {
		d.log.Warn("where the tokens of these accounts belong stays as it was until the next start, because a route leads there", "accounts", kept)
	}
	d.warnOfGrants(d.asStarted(next))
	d.members.configure(next)
	d.routes.tokens.Remember(parents(next)...)
	accounts, users := d.apply(next), compareUsers(d.cfg.Users, next.Users)
	d.tokenFiles.Configure(next.TokenFiles)
	d.log.Info("configuration read again",
		"accounts_added", accounts.added, "accounts_changed", accounts.changed, "accounts_removed", accounts.removed,
		"users_added", users.added, "users_changed", users.changed, "users_removed", users.removed)
	d.cfg = next
	d.consentInSandbox(context.Background())
}

// checkAccounts returns why the accounts of next are refused. It changes nothing.
func (d *daemon) checkAccounts(next *config.Config) error {
	if len(next.Accounts) == 0 && d.sandbox == nil { // the simulator has one of its own
		return fmt.Errorf("%s: has no account", next.File)
	}
	if err := d.checkStart(next); err != nil || d.sandbox == nil {
		return err
	}
	return d.sandbox.tryIssuers(next)
}

// checkStart returns why serve would not have started with the accounts of next, in this
// store and with these seal keys.
func (d *daemon) checkStart(next *config.Config) error {
	cfg, sandboxed := d.asStarted(next), d.sandbox != nil
	_, err := chooseStore(cfg, sandboxed)
	if !sandboxed {
		err = errors.Join(append(cfg.Unsealed(), err)...)
	}
	if fixed := next.Fixed(d.started); err != nil && len(fixed) > 0 {
		err = fmt.Errorf("%w\nThese settings take effect at the next start: %s", err, strings.Join(fixed, ", "))
	}
	return err
}

// asStarted returns next with the store, the seal keys and the directories for grants
// that this process has: they stay in use until it ends.
func (d *daemon) asStarted(next *config.Config) *config.Config {
	cfg := *next
	cfg.Redis, cfg.EmbeddedRedis, cfg.Prefix = d.started.Redis, d.started.EmbeddedRedis, d.started.Prefix
	cfg.SealKeyFile, cfg.GrantSpool, cfg.GrantCopy = d.started.SealKeyFile, d.started.GrantSpool, d.started.GrantCopy
	return &cfg
}

// difference counts what a reload changes.
type difference struct{ added, changed, removed int }

func compareUsers(before, after []config.User) difference {
	var diff difference
	old := map[string]config.User{}
	for _, u := range before {
		old[u.Name] = u
	}
	for _, u := range after {
		was, known := old[u.Name]
		switch {
		case !known:
			diff.added++
		case !was.Same(u):
			diff.changed++
		}
		delete(old, u.Name)
	}
	diff.removed = len(old)
	return diff
}

// apply changes the coordinator's accounts to those of next. An account that has to be
// removed takes its children with it, which come back after it.
func (d *daemon) apply(next *config.Config) difference {
	var diff difference
	removed := map[string]bool{}
	for _, a := range d.cfg.Accounts { // parents before their children
		later, stays := next.Account(a.Name)
		removed[a.Name] = !stays || removed[a.Of] || !keepsToken(a, later)
	}
	d.members.release(next, removed)
	defer d.members.start()
	for _, a := range slices.Backward(d.cfg.Accounts) {
		if !removed[a.Name] {
			continue
		}
		if err := d.zk.Remove(a.Name); err != nil && !errors.Is(err, coordinator.ErrUnknownAccount) {
			d.log.Error("an account cannot be removed", "account", a.Name, "error", err)
		}
		if _, stays := next.Account(a.Name); !stays {
			diff.removed++
		}
	}
	for _, a := range next.Accounts {
		old, known := d.cfg.Account(a.Name)
		corrected := known && !a.SameSecrets(old)
		// Without a configuration file a reload reads the secret file alone: log
		// that even if it is the same.
		if corrected || a.SecretFile != "" && next.File == "" {
			d.log.Info("secret read again", "account", a.Name, "changed", corrected)
		}
		same := known && old.Same(a) && d.cfg.Refreshing(old) == next.Refreshing(a)
		if same && !removed[a.Name] {
			continue
		}
		if err := d.applyAccount(next, a, old); err != nil {
			d.log.Error("an account is refused", "account", a.Name, "error", err)
			continue
		}
		switch {
		case !known:
			diff.added++
		case !same:
			diff.changed++
		}
	}
	return diff
}

// keepsToken reports whether the token that callers have stays in use if a becomes next.
// Another kind of source, or another parent, issues another token: such an account is
// removed and added again. All else is changed in place.
func keepsToken(a, next config.Account) bool { return a.Source == next.Source && a.Of == next.Of }

// applyAccount adds an account, or changes the one that is there.
func (d *daemon) applyAccount(next *config.Config, a, old config.Account) error {
	account, err := newAccountConfig(a, next.Refreshing(a))
	if err != nil {
		return err
	}
	current, ok := d.zk.Account(a.Name)
	if !ok {
		_, err = d.zk.Add(account)
		return err
	}
	if old.Label = a.Label; !old.Same(a) || d.cfg.Refreshing(old) != next.Refreshing(a) {
		return current.Configure(account)
	} // else only the label changed, which the page reads from the configuration
	return nil
}

func (d *daemon) reloadCertificate() {
	if err := d.web.Reload(); err != nil {
		d.log.Error("the new certificate is refused, the old one stays in use", "error", err)
	}
}
