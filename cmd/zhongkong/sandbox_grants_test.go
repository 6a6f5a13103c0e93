package main

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func TestInTheSandboxAnAccountLivesOnARefreshToken(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	b = b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", seal.NewLine(time.Now())+"\n"), "ZHONGKONG_CONFIG", b.file("zk.yaml", `accounts:
- {name: books, source: oauth2, grant: refresh_token, profile: xero, client_id: c, client_secret: sandbox}
- {name: cli, source: oauth2, grant: refresh_token, client_auth: none, client_id: d, token_url: "https://login.example.com/token"}
`))
	d := b.serve("--sandbox")
	d.ready()
	reader := b.with("ZHONGKONG_CONFIG", "", "ZHONGKONG_PREFIX", b.env["ZHONGKONG_PREFIX"]+sandboxSuffix)
	for _, name := range []string{"books", "cli"} {
		if reader.must("show", name) == "" {
			t.Errorf("%s has no token", name)
		}
		if out := reader.must("grant", "status", name); !strings.Contains(out, name) || !strings.Contains(out, "good") {
			t.Errorf("%s", out)
		}
	}
	d.stop()
}
