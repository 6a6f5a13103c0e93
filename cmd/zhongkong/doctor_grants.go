package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// grants checks what grants need of Redis and of this machine. Without an account that
// has one only the directories are checked.
func (x checks) grants(ctx context.Context) {
	if len(x.cfg.NeedsGrants()) == 0 {
		for key, dir := range x.cfg.GrantDirs() { // serve opens them all the same
			x.directory(key, dir)
		}
		return
	}
	admin := redisadmin.New(x.store)
	settings, err := admin.GrantSettings(ctx)
	if err != nil {
		x.warn("grants", "", "the settings of Redis could not be read: %v", err)
	}
	for _, s := range settings {
		result := map[redisadmin.Verdict]string{redisadmin.Good: resultOK, redisadmin.Bad: resultFail, redisadmin.Unknown: resultWarn}[s.Verdict]
		x.add(result, "grants "+s.Name, s.Found, s.Fix)
	}
	missing, _, err := missingRules(x.cfg.NeedsGrants(), func(accounts ...string) ([]string, error) {
		return admin.MissingGrantACL(ctx, accounts...)
	})
	switch {
	case err != nil:
		x.warn("grants rights", "", "could not be tried: %v", err)
	case len(missing) > 0:
		x.fail("grants rights", "ACL SETUSER <user> "+strings.Join(missing, " "), "the Redis user lacks rights that grants need: %s", strings.Join(missing, " "))
	default:
		x.ok("grants rights", "the Redis user has the rights that grants need")
	}
	if err := admin.TryGrants(ctx, singleNames(x.cfg.NeedsGrants())...); err != nil && !errors.Is(err, redisstore.ErrDenied) {
		x.fail("grants scripts", "", "%v", err)
	}
	x.spool()
	x.copies(ctx)
}

// spool looks at the directory of answers that Redis does not have yet.
func (x checks) spool() {
	dir := x.cfg.GrantSpool
	if dir == "" {
		x.warn("grants.spool", "name a directory on this machine's disk", "not set: a refresh token that was just issued is lost with the process while Redis does not answer")
		return
	}
	if !x.directory("grants.spool", dir) {
		return
	}
	waiting, err := grantfile.Waiting(dir, x.grantSealer(sealedSpool))
	switch {
	case err != nil:
		x.fail("grants.spool", "add the keys of these files to the seal key file; a process that has them stores what it can open within a minute", "%v", err)
	case len(waiting) > 0:
		x.warn("grants.spool", "keep every seal key until then; if they stay: start zhongkong serve on this machine, which puts them in", "%s has %d refresh tokens that Redis does not have yet, of %s",
			dir, len(waiting), list(waiting))
	default:
		x.ok("grants.spool", "%s is empty: Redis has everything", dir)
	}
}

// copies looks at the directory with the copies.
func (x checks) copies(ctx context.Context) {
	dir := x.cfg.GrantCopy
	if dir == "" {
		x.warn("grants.copy", "name a directory, on another disk than that of Redis", "not set: if Redis loses its disk, a person has to log in again")
		return
	}
	if !x.directory("grants.copy", dir) {
		return
	}
	accounts, err := grantfile.Copied(ctx, dir, x.grantSealer(sealedCopy))
	if err != nil {
		x.fail("grants.copy", "add the keys of these files to the seal key file, or move the files away", "%v", err)
	} else {
		x.ok("grants.copy", "%s has the grants of %d accounts", dir, len(accounts))
	}
	if old, _ := grantfile.Outdated(dir, x.grantSealer(sealedCopy)); len(old) > 0 { // Copied has the error as well
		x.warn("grants.copy", "keep that key until then; a zhongkong serve that does not do it within a minute says why in its log",
			"%d copies are sealed with an older key, and not yet with %q: %s", len(old), x.keys.First(), list(old))
	}
}

// otherGrants names the grants in Redis that no check of an account has looked at, because
// the account is not configured here, and that need another key than the first. A key file
// with one key asks for no search of the whole Redis.
func (x checks) otherGrants(ctx context.Context) {
	if x.keys == nil || x.keys.Kids() == x.keys.First() {
		return
	}
	const check = "grants sealing"
	admin := redisadmin.New(x.store)
	names, err := admin.GrantAccounts(ctx)
	if err != nil {
		x.warn(check, "before you remove a key, let a user with +scan run doctor", "Redis cannot be searched for grants of accounts that are not configured here: %v", err)
		return
	}
	var old []string
	for _, name := range names {
		if _, configured := x.cfg.Account(name); configured {
			continue
		}
		if sealed, _ := admin.SealedGrant(ctx, name); x.keys.Outdated(sealed) {
			old = append(old, name)
		}
	}
	if len(old) > 0 {
		x.warn(check, "keep that key until then; to do it now: zhongkong grant export >/dev/null",
			"%d accounts that are not configured here have a grant that is sealed with an older key, and not yet with %q: %s", len(old), x.keys.First(), list(old))
	}
}

// directory reports whether there is such a directory, which serve opens. A process makes
// it when it starts.
func (x checks) directory(check, dir string) bool {
	if err := grantfile.CheckDir(dir); err != nil {
		x.fail(check, "name a directory that only the user of the service can read", "%v", err)
		return false
	}
	if _, err := os.Stat(dir); err != nil {
		x.ok(check, "%s is not there yet: zhongkong serve makes it", dir)
		return false
	}
	return true
}

// grant says what the account's grant is worth, and reports whether it can be presented.
func (x checks) grant(ctx context.Context, state coordinator.State, a config.Account) bool {
	g := grantOf(state, a)
	if g == nil {
		return true
	}
	if !x.grantSealing(ctx) {
		return false
	}
	fix := "zhongkong login " + x.account + ", or zhongkong grant import " + x.account
	since := ""
	if !g.Since.IsZero() {
		since = " for " + brief(max(state.Now.Sub(g.Since.Time), 0))
	}
	switch {
	case g.Condition == coordinator.GrantDoubt:
		x.warn("grant", "to be on the safe side, now: "+fix, "in doubt%s: %s", since, g.Advice)
		return false
	case g.NeedsConsent():
		x.fail("grant", fix, "%s%s: a person has to consent", g.Condition, since)
		return false
	case g.NeedsAttention():
		x.fail("grant", "check that the issuer's pushes reach /callback/"+x.account+" of a zhongkong serve", "nothing that was pushed is valid%s", since)
		return false
	}
	x.grantEnds(g, state.Now, fix)
	return g.Condition == coordinator.GrantGood
}

func (x checks) grantEnds(g *wire.Grant, now time.Time, fix string) {
	near := false
	g.Ends(func(how string, at time.Time) {
		if !g.EndsSoon(how, at, now) {
			return
		}
		near = true
		left := brief(max(at.Sub(now), 0))
		if how == wire.EndsIdle {
			x.warn("grant", "find out why the account is not refreshed: zhongkong history "+x.account, "ends in %s unless it is used", left)
			return
		}
		x.warn("grant", "before that: "+fix, "ends in %s, whatever is done", left)
	})
	if !near {
		x.ok("grant", "%s", grantCell(g, now))
	}
}

// cannotBeOpened reports whether an error of SealedGrant is about the grant itself.
func cannotBeOpened(err error) bool {
	return errors.Is(err, coordinator.ErrSealed) || isA[*redisstore.DataError](err)
}

// grantSealing reports whether the grant in Redis can be opened, and says which key has
// sealed it: another one than the first must not be removed from the key file.
func (x checks) grantSealing(ctx context.Context) bool {
	if x.keys == nil {
		return true
	}
	sealed, err := redisadmin.New(x.store).SealedGrant(ctx, x.account)
	if cannotBeOpened(err) {
		x.fail("grant", "", "%v", err)
		return false
	}
	if kid := seal.Kid(sealed); err == nil && kid != "" && kid != x.keys.First() {
		x.warn("grant", "keep that key until a refresh has sealed it again; to do it now: zhongkong grant export "+x.account+" >/dev/null",
			"sealed with %q, and not yet with %q", kid, x.keys.First())
	}
	return true
}
