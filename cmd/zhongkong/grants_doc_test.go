package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/referencetest"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// grantPages are the pages about grants.
func grantPages() []string { return []string{"docs/grants.md", "docs/grants.zh-CN.md"} }

// TestTheExampleOfGrantsIsTrue reads it as check does, with the files that it names.
func TestTheExampleOfGrantsIsTrue(t *testing.T) {
	var examples []string
	for _, page := range grantPages() {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "```yaml\n")
		example, _, found := strings.Cut(rest, "```")
		if !found {
			t.Fatalf("%s has no example", page)
		}
		examples = append(examples, regexp.MustCompile(` +# .*`).ReplaceAllString(example, ""))
	}
	if examples[0] != examples[1] {
		t.Errorf("the examples differ:\n%s\n%s", examples[0], examples[1])
	}
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	example := b.withFiles(examples[0])
	keys := regexp.MustCompile(`\S+/seal.keys`).FindString(example)
	if err := os.WriteFile(keys, []byte(seal.NewLine(time.Now())), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "grants")
	example = strings.NewReplacer("/var/lib/zhongkong", dir, "/mnt/grants", dir+"/copy").Replace(example)
	got := b.with("ZHONGKONG_CONFIG", b.file("example.yaml", example)).must("check")
	if !strings.Contains(got, "accounts 2, of which this process refreshes 2") {
		t.Errorf("check says %q", got)
	}
}

func TestThePagesHaveAllProfiles(t *testing.T) {
	for i, page := range grantPages() {
		referencetest.Part(t, page, "profiles", profileTable(i == 1))
	}
}

// profileTable is the table of profiles in English or Chinese.
func profileTable(chinese bool) string {
	heading := []string{"profile", "issuer", "a used refresh token", "the grant ends"}
	words := map[string]string{
		"never": "is refused", "kills": "ends the grant", "kills_all": "ends the grant and its access tokens", "free": "is not used up",
		"for": "is answered for %s", "set": "; set it", "idle": "%s without use", "ends": "%s after the consent", "told": "as each answer says", "and": ", ", "unknown": "–",
	}
	if chinese {
		heading = []string{"profile", "签发方", "用过的 refresh token", "授权何时结束"}
		words = map[string]string{
			"never": "被拒绝", "kills": "使授权失效", "kills_all": "使授权及其 access token 失效", "free": "不会用掉",
			"for": "%s 内仍应答", "set": "；需设置", "idle": "%s 未使用", "ends": "授权后 %s", "told": "见每次应答", "and": "，", "unknown": "–",
		}
	}
	var b strings.Builder
	referencetest.Heading(&b, heading...)
	for _, p := range oauth.Profiles() {
		used := words["never"]
		switch {
		case p.Replay == "free":
			used = words["free"]
		case p.Replay != "never":
			used = fmt.Sprintf(words["for"], p.Replay)
		case p.Reuse != "":
			used = words[p.Reuse]
		}
		if p.Tenant {
			used += words["set"]
		}
		var ends []string
		if p.Idle > 0 {
			ends = append(ends, fmt.Sprintf(words["idle"], days(p.Idle.Duration())))
		}
		if p.Ends > 0 {
			ends = append(ends, fmt.Sprintf(words["ends"], days(p.Ends.Duration())))
		}
		if p.ExpiresInIsEnd {
			ends = append(ends, words["told"])
		}
		if len(ends) == 0 {
			ends = []string{words["unknown"]}
		}
		referencetest.Row(&b, "`"+p.Name+"`", "["+p.Title+"]("+p.Documentation+")", used, strings.Join(ends, words["and"]))
	}
	return b.String()
}

func days(d time.Duration) string { return fmt.Sprintf("%d d", int(d.Hours())/24) }

func TestThePagesHaveTheRightsOfGrants(t *testing.T) {
	for _, page := range []string{"docs/redis.md", "docs/redis.zh-CN.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if line := "\nACL SETUSER zhongkong-refresher " + strings.Join(redisadmin.GrantACL(""), " ") + "\n"; !strings.Contains(string(text), line) {
			t.Errorf("%s lacks:%s", page, line)
		}
	}
}
