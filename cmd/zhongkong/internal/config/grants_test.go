package config_test

import (
	"strings"
	"testing"
)

func TestDirectoriesOfGrantsNeedAKey(t *testing.T) {
	const yaml = "appid: wx1\ngrants:\n  spool: /var/lib/zhongkong/spool\n  copy: /var/lib/zhongkong/copy\n"
	_, err := load(t, yaml, nil, nil)
	if err == nil || strings.Count(err.Error(), "needs seal_key_file") != 2 || !strings.Contains(err.Error(), "keygen") {
		t.Errorf("Load() without a key = %v, want both directories and what to do", err)
	}
	c := mustLoad(t, yaml, map[string]string{"seal_key_file": "keys"}, map[string]string{"ZHONGKONG_GRANTS_COPY": "/mnt/copy"})
	if c.GrantSpool != "/var/lib/zhongkong/spool" || c.GrantCopy != "/mnt/copy" {
		t.Errorf("Load() with a key: spool %q, copy %q", c.GrantSpool, c.GrantCopy)
	}
}

func TestDirectoriesOfGrantsAreTwoAndDoNotDependOnWhereAProcessStarts(t *testing.T) {
	for grants, want := range map[string]string{
		"{spool: spool}": `grants.spool "spool" must be an absolute path`,
		"{copy: ./copy}": `grants.copy "./copy" must be an absolute path`,
		"{spool: /mnt/grants, copy: /mnt//grants/}": "grants.spool and grants.copy are the same directory",
	} {
		_, err := load(t, "appid: wx1\nseal_key_file: keys\ngrants: "+grants+"\n", nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load() with %s = %v, want %q", grants, err, want)
		}
	}
}

func TestTheRightToPutInGrantsIsGivenToUsers(t *testing.T) {
	const user = "appid: wx1\nusers:\n  - name: portal\n    password: $argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g\n    accounts: [wx1]\n"
	with, without := mustLoad(t, user+"    grant: true\n", nil, nil).Users[0], mustLoad(t, user, nil, nil).Users[0]
	if !with.Grant || without.Grant || with.Same(without) {
		t.Errorf("grant: true gives %v, nothing gives %v, and they differ: %v", with.Grant, without.Grant, !with.Same(without))
	}
}

func TestALockLifeTooShortForAGrantsConfirmationIsWarnedOf(t *testing.T) {
	grant := "accounts:\n- {name: crm, source: oauth2, grant: refresh_token, profile: google, client_id: c, client_secret_env: S}\n"
	flags, env := map[string]string{"seal_key_file": "keys"}, map[string]string{"S": "secret"}
	for yaml, want := range map[string]bool{
		grant:                         false,
		"lock_life: 2500ms\n" + grant: false,
		"lock_life: 2s\n" + grant:     true,
		"lock_life: 2s\nappid: wx1\n": false,
		"lock_life: 2400ms\n" + grant: true,
	} {
		c := mustLoad(t, yaml, flags, env)
		if warned := strings.Contains(strings.Join(c.Warnings, "\n"), "lock_life is"); warned != want {
			t.Errorf("%s: warnings %q, want one of lock_life: %v", yaml, c.Warnings, want)
		}
	}
}
