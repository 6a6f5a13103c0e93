package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// authorise gives a platform of a session authorizers with grants.
func authorise(t *testing.T, s *session, platform string, n int) map[string]coordinator.Grant {
	t.Helper()
	grants := map[string]coordinator.Grant{}
	for i := range n + 1 {
		name := fmt.Sprintf("wx%016d", i)
		if i == n {
			name = platform
		}
		g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("refresh-of-" + name)}, time.Now())
		err := s.store.SaveGrant(t.Context(), name, g, g.Summary(coordinator.GrantRules{}, time.Now()))
		if name != platform {
			err = errors.Join(err, s.store.SetGrantMember(t.Context(), platform, name, true))
		}
		if err != nil {
			t.Fatal(err)
		}
		grants[name] = g
	}
	return grants
}

func TestAFleetIsMovedByTheCommands(t *testing.T) {
	from, to := grantSession(t), grantSession(t)
	grants := authorise(t, from, "wxplatform", 20)
	old := &bench{t: t, wechat: newBench(t).wechat, env: map[string]string{}}
	for _, name := range []string{"ZHONGKONG_REDIS", "ZHONGKONG_PREFIX", "ZHONGKONG_APPID", "ZHONGKONG_SECRET", "ZHONGKONG_SEAL_KEY_FILE"} {
		old.env[name] = from.env(name)
	}
	other := old.file("export.keys", seal.NewLine(time.Now()))
	export := old.must("grant", "export", "--key-file", other)
	if strings.Contains(export, "refresh-of-") {
		t.Error("the export shows a refresh token")
	}

	moved := old.with("ZHONGKONG_PREFIX", to.env("ZHONGKONG_PREFIX"), "ZHONGKONG_SEAL_KEY_FILE", to.env("ZHONGKONG_SEAL_KEY_FILE"))
	for words, stdin := range map[string]string{
		"it was cut off":    export[:strings.LastIndex(strings.TrimSpace(export), "\n")+1],
		"is not an archive": "",
	} {
		if r := moved.feed(stdin, "grant", "restore", "--key-file", other); r.code != exitUsage || !strings.Contains(r.stderr, words) {
			t.Errorf("restore = %d, want %d and %q in\n%s", r.code, exitUsage, words, r.stderr)
		}
	}
	if r := moved.feed(export, "grant", "restore"); r.code != exitUsage || !strings.Contains(r.stderr, "which") {
		t.Errorf("restore without the key = %d:\n%s", r.code, r.stderr)
	}
	if members, err := to.store.GrantMembers(t.Context(), "wxplatform"); err != nil || len(members) > 0 {
		t.Fatalf("members after restores that failed: %v, %v", members, err)
	}
	for i := range 2 {
		r := moved.feed(export, "grant", "restore", "--key-file", other)
		if r.code != exitDone || !strings.Contains(r.stderr, "restored 21 of 21 accounts") || r.stdout != "" {
			t.Fatalf("restore = %d:\n%s%s", r.code, r.stdout, r.stderr)
		}
		if again := strings.Contains(r.stderr, "21 of 21 were there already"); again != (i == 1) {
			t.Errorf("restore no. %d says\n%s", i+1, r.stderr)
		}
	}
	for name, g := range grants {
		if read, err := to.store.LoadGrant(t.Context(), name); err != nil || !read.Grant.Same(g) {
			t.Errorf("%s has version %d, %v", name, read.Grant.Version, err)
		}
	}
	if members, err := to.store.GrantMembers(t.Context(), "wxplatform"); err != nil || len(members) != len(grants)-1 {
		t.Errorf("%d members, %v, want %d", len(members), err, len(grants)-1)
	}
	if r := moved.with("ZHONGKONG_PREFIX", "empty").run("grant", "export"); r.code != exitOther || !strings.Contains(r.stderr, "there is no grant to export") {
		t.Errorf("an export of nothing = %d:\n%s", r.code, r.stderr)
	}
	if r := moved.run("grant", "export", "wxplatform", "nope"); r.code != exitOther || r.stdout != "" || !strings.Contains(r.stderr, "no grant of nope") {
		t.Errorf("an export of an account that has no grant = %d:\n%s", r.code, r.stderr)
	}
}
