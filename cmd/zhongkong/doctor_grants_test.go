package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// examine returns what doctor finds about the account of a session, by check; of several
// the worst.
func examine(t *testing.T, s *session) map[string]finding {
	t.Helper()
	x := checks{session: s, findings: &[]finding{}}
	x.grants(t.Context())
	x.account = s.cfg.Accounts[0].Name
	x.accountChecks(t.Context())
	worst := map[string]finding{}
	for _, f := range *x.findings {
		if old, found := worst[f.Check]; !found || old.Result == resultOK || f.Result == resultFail {
			worst[f.Check] = f
		}
	}
	return worst
}

// grantSession has an account whose source presents a grant.
func grantSession(t *testing.T) *session {
	t.Helper()
	b := newBench(t)
	dir := t.TempDir()
	b.env["ZHONGKONG_SEAL_KEY_FILE"] = b.file("seal.keys", seal.NewLine(time.Now()))
	b.env["ZHONGKONG_GRANTS_SPOOL"], b.env["ZHONGKONG_GRANTS_COPY"] = filepath.Join(dir, "spool"), filepath.Join(dir, "copy")
	p := program{stderr: &bytes.Buffer{}, env: func(name string) string { return b.env[name] }}
	cfg, _, err := config.Load(config.Input{Env: p.env})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Accounts[0].Grant = coordinator.GrantRules{Needed: true}
	s := &session{program: p, cfg: cfg, started: cfg, log: slog.New(slog.DiscardHandler)}
	if err := s.open(cfg.Redis, cfg.Prefix); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestDoctorChecksWhatGrantsNeed(t *testing.T) {
	s := grantSession(t)
	all := examine(t, s)
	finds(t, all, "grants seal key", resultOK, "sealed")
	finds(t, all, "grants appendonly", resultFail, "CONFIG SET appendonly yes") // the Redis of the tests keeps nothing
	finds(t, all, "grants rights", resultOK, "has the rights")
	finds(t, all, "grants.spool", resultOK, "is not there yet")
	finds(t, all, "grants.copy", resultOK, "is not there yet")
	finds(t, all, "grant", resultFail, "zhongkong login "+appID)
	finds(t, all, "secret", resultOK, "accepts") // tried by a call that needs no grant

	if err := s.openGrantDirs(); err != nil {
		t.Fatal(err)
	}
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("refresh"), Ends: 103 * 24 * time.Hour}, time.Now().Add(-100*24*time.Hour))
	err := errors.Join(
		s.store.SaveGrant(t.Context(), appID, g, g.Summary(s.cfg.Accounts[0].Grant, time.Now())),
		s.grantDirs.copy.Put(t.Context(), appID, g),
		s.grantDirs.spool.Write(coordinator.GrantAnswer{Account: appID, Fence: 1, Token: coordinator.NewToken("refresh")}))
	if err != nil && !errors.Is(err, coordinator.ErrUnconfirmed) {
		t.Fatal(err)
	}
	all = examine(t, s)
	finds(t, all, "grants.spool", resultWarn, "1 refresh tokens that Redis does not have yet, of "+appID)
	finds(t, all, "grants.copy", resultOK, "1 accounts")
	finds(t, all, "grant", resultWarn, "before that: zhongkong login")

	lost, err := grantfile.OpenCopy(s.cfg.GrantCopy, grantSealer{keys: otherKeys(t), place: "elsewhere"})
	if err == nil {
		err = lost.Put(t.Context(), "wx2", g)
	}
	if err != nil {
		t.Fatal(err)
	}
	finds(t, examine(t, s), "grants.copy", resultFail, "wx2.grant")
	s.cfg.GrantSpool, s.cfg.GrantCopy = "", ""
	all = examine(t, s)
	finds(t, all, "grants.spool", resultWarn, "not set")
	finds(t, all, "grants.copy", resultWarn, "not set")
}

func TestDoctorSaysWhatTheGrantIsWorth(t *testing.T) {
	now := time.Now()
	for want, c := range map[string]struct {
		grant  coordinator.GrantSummary
		result string
		usable bool
	}{
		"good": {coordinator.GrantSummary{Condition: coordinator.GrantGood, ObtainedAt: now}, resultOK, true},
		"to be on the safe side, now: zhongkong login": {coordinator.GrantSummary{Condition: coordinator.GrantDoubt, DoubtAt: now}, resultWarn, false},
		"dead: a person has to consent":                {coordinator.GrantSummary{Condition: coordinator.GrantDead}, resultFail, false},
		"/callback/" + appID:                           {coordinator.GrantSummary{Condition: coordinator.GrantNone, Received: true}, resultFail, false},
		"find out why the account is not refreshed":    {coordinator.GrantSummary{Condition: coordinator.GrantGood, IdleUntil: now.Add(time.Hour)}, resultWarn, true},
	} {
		x := checks{session: &session{}, account: appID, findings: &[]finding{}}
		usable := x.grant(t.Context(), coordinator.State{Now: now, Grant: &c.grant}, config.Account{})
		if f := (*x.findings)[0]; f.Result != c.result || usable != c.usable {
			t.Errorf("%+v: %+v, usable %v, want %s, %v", c.grant, f, usable, c.result, c.usable)
		}
		finds(t, map[string]finding{"grant": (*x.findings)[0]}, "grant", c.result, want)
	}
}

// Whoever removes the old key when doctor names nothing any more must lose nothing.
func TestDoctorNamesEveryGrantThatNeedsAnOlderKey(t *testing.T) {
	s := grantSession(t)
	if err := s.openGrantDirs(); err != nil {
		t.Fatal(err)
	}
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("refresh")}, time.Now())
	save := func(name string, g coordinator.Grant, condition coordinator.GrantCondition) {
		t.Helper()
		sum := g.Summary(coordinator.GrantRules{Needed: true}, time.Now())
		sum.Condition, sum.DoubtAt = condition, time.Now()
		if err := s.store.SaveGrant(t.Context(), name, g, sum); err != nil && !errors.Is(err, coordinator.ErrUnconfirmed) {
			t.Fatal(err)
		}
	}
	save("gone", g, coordinator.GrantGood) // is not configured any more
	if err := s.grantDirs.copy.Put(t.Context(), "gone", g); err != nil {
		t.Fatal(err)
	}
	var own coordinator.Grant
	all := func() map[string][]finding {
		t.Helper()
		x := checks{session: s, findings: &[]finding{}}
		if err := x.runAll(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		byCheck := map[string][]finding{}
		for _, f := range *x.findings {
			byCheck[f.Check] = append(byCheck[f.Check], f)
		}
		return byCheck
	}
	names := func(found []finding, account, words string) bool {
		return slices.ContainsFunc(found, func(f finding) bool {
			return f.Account == account && f.Result == resultWarn && strings.Contains(f.Detail, words)
		})
	}
	content, err := os.ReadFile(s.cfg.SealKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range []coordinator.GrantCondition{coordinator.GrantGood, coordinator.GrantDoubt, coordinator.GrantDead} {
		own = own.Consented(coordinator.Consent{Token: coordinator.NewToken("refresh-" + string(condition))}, time.Now())
		save(appID, own, condition)
		old := s.keys.First()
		content = append([]byte(seal.NewLine(time.Now())+"\n"), content...)
		if err := errors.Join(os.WriteFile(s.cfg.SealKeyFile, content, 0o600), s.keys.Reload()); err != nil { // not by reloadSealKeys, which seals the copies again
			t.Fatal(err)
		}
		found := all()
		if !names(found["grant"], appID, fmt.Sprintf("sealed with %q", old)) {
			t.Errorf("a grant that is %s: doctor does not name it in %+v", condition, found["grant"])
		}
		if !names(found["grants sealing"], "", "gone") {
			t.Errorf("doctor does not name the grant of an account that is not configured in %+v", found["grants sealing"])
		}
		if !names(found["grants.copy"], "", "gone") {
			t.Errorf("doctor does not name the copy in %+v", found["grants.copy"])
		}
		s.resealCopies()
		if err := (&grantExport{store: s.store, at: map[string]int{}}).collect(t.Context(), []string{appID, "gone"}); err != nil { // as doctor says
			t.Fatal(err)
		}
		for check, f := range all() {
			if names(f, appID, "sealed with") || names(f, "", "older key") {
				t.Errorf("with everything sealed again %s = %+v", check, f)
			}
		}
	}
}

func TestCopiesThatCouldNotBeSealedAgainAreTriedLater(t *testing.T) {
	s := grantSession(t)
	if err := s.openGrantDirs(); err != nil {
		t.Fatal(err)
	}
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("refresh")}, time.Now())
	if err := s.grantDirs.copy.Put(t.Context(), appID, g); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(s.cfg.SealKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	next := seal.NewLine(time.Now()) + "\n"
	use := func(lines string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(s.cfg.SealKeyFile, []byte(lines), 0o600), s.keys.Reload()); err != nil {
			t.Fatal(err)
		}
	}
	outdated := func() int {
		t.Helper()
		accounts, err := grantfile.Outdated(s.cfg.GrantCopy, s.grantSealer(sealedCopy))
		if err != nil {
			t.Fatal(err)
		}
		return len(accounts)
	}
	use(next) // without the old key nothing can be sealed again
	s.resealCopies()
	use(next + string(old))
	s.resealAgain(time.Now())
	if n := outdated(); n != 1 {
		t.Fatalf("%d copies need the older key before the time of the next try, want 1", n)
	}
	s.resealAgain(time.Now().Add(resealEvery))
	if n := outdated(); n != 0 {
		t.Errorf("%d copies need the older key after the next try", n)
	}
	s.resealAgain(time.Now().Add(2 * resealEvery)) // there is nothing left to do
}

func otherKeys(t *testing.T) *seal.Keyring {
	t.Helper()
	keys, err := seal.Parse("others", []byte(seal.NewLine(time.Now())))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
