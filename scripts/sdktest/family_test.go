package sdktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/util"
	workcontext "github.com/silenceper/wechat/v2/work/context"
)

// silenceperFamily gets everything that silenceper/wechat can get of the accounts.
func silenceperFamily(r request) (map[string]string, error) {
	util.SetURIModifier(func(uri string) string {
		return strings.NewReplacer("https://api.weixin.qq.com", r.Base, "https://qyapi.weixin.qq.com", r.Base).Replace(uri)
	})
	memory := cache.NewMemory()
	got := map[string]string{}
	var err error
	account := credential.NewDefaultAccessToken(r.AppID, r.Secret, "zk", memory)
	if got["shop"], err = account.GetAccessToken(); err != nil {
		return nil, err
	}
	if got["shop.jsapi"], err = credential.NewDefaultJsTicket(r.AppID, "zk", memory).GetTicket(got["shop"]); err != nil {
		return nil, err
	}
	app := workcontext.Context{AccessTokenHandle: credential.NewWorkAccessToken(r.CorpID, r.Secret, "1000002", "zk", memory)}
	if got["sales"], err = app.GetAccessToken(); err != nil {
		return nil, err
	}
	tickets := credential.NewWorkJsTicket(r.CorpID, "1000002", "zk", memory)
	if got["sales.corp"], err = tickets.GetTicket(got["sales"], credential.TicketTypeCorpJs); err != nil {
		return nil, err
	}
	got["sales.agent"], err = tickets.GetTicket(got["sales"], credential.TicketTypeAgentJs)
	return got, err
}

// TestUnmodifiedSDKsOfTicketsAndWeCom has SDKs of two languages get tokens of WeCom and
// tickets through the drop-in: they know its address and the caller's key, and nothing
// else of it. There are two apps of one corp.
func TestUnmodifiedSDKsOfTicketsAndWeCom(t *testing.T) {
	s := &stack{t: t, dir: t.TempDir()}
	s.redis, s.stopRedis = startRedis(t)
	file := filepath.Join(s.dir, "zhongkong.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(`
redis: redis://%s
users:
  - {name: sdk, password: '%[2]s', accounts: [shop, shop.jsapi, shop.wx_card, sales, sales.corp, sales.agent]}
  - {name: both, password: '%[2]s', accounts: '*'}
accounts:
  - {name: shop, appid: wx8acdb7df5beb68fd, secret: %[3]s, tickets: [jsapi, wx_card]}
  - {name: sales, source: wecom, corpid: ww8acdb7df5beb68fd, agentid: '1000002', secret: %[3]s-sales, tickets: [corp, agent]}
  - {name: other, source: wecom, corpid: ww8acdb7df5beb68fd, agentid: '1000003', secret: %[3]s-other}
routes:
  - {name: shop, account: shop}
`, s.redis, hash(t, key), appSecret)), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := s.start("serve", nil, "--config", file, "serve", "--sandbox", "--listen", "127.0.0.1:0")
	s.zhongkong = daemon.said(t, regexp.MustCompile(`^zhongkong: (http://[^,]+),`))[1]
	s.eventually("a token for every account", func() bool {
		code, _ := s.ask(http.MethodGet, s.zhongkong+"/readyz?all", "")
		return code == http.StatusOK
	})
	current := func(account string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.zhongkong+"/v1/tokens/"+account, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("both", key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var record struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&record); err != nil {
			t.Fatal(err)
		}
		return record.AccessToken
	}
	for _, c := range []struct {
		language, sdk string
		values        int
	}{
		{"Go", "silenceper/wechat", 5},
		{"JavaScript", "co-wechat-api", 3},
		{"JavaScript", "node-easywechat", 5},
	} {
		d := startDriver(t, c.language)
		var asked request
		for _, appID := range []string{"wx8acdb7df5beb68fd", "shop"} {
			asked = request{Op: "family", SDK: c.sdk, Session: c.sdk + " " + appID, Base: s.zhongkong, AppID: appID,
				CorpID: "ww8acdb7df5beb68fd", Secret: "sdk~" + key}
			got, err := d.ask(asked)
			if err != nil || len(got) != c.values {
				t.Errorf("%s: %d values, %v", c.sdk, len(got), err)
			}
			for account, value := range got {
				if want := current(account); value != want {
					t.Errorf("%s got another value for %s than the current one", c.sdk, account)
				}
			}
		}
		if c.language == "JavaScript" { // one configuration for the token, calls and the login
			opened := request{Op: "open", SDK: c.sdk, Session: "route", Base: s.zhongkong + "/proxy/shop", AppID: "wx8acdb7df5beb68fd", Secret: "sdk~" + key}
			for _, step := range []request{opened, {Op: "call", Session: "route"}, {Op: "login", Session: "route", Code: "c0de"}} {
				if err := d.do(step); err != nil {
					t.Errorf("%s: %s: %v", c.sdk, step.Op, err)
				}
			}
		}
		asked.Secret, asked.Session = "both~"+key, c.sdk+" both"
		if _, err := d.ask(asked); c.values > 3 && (err == nil || !strings.Contains(err.Error(), "sales, other")) {
			t.Errorf("%s with two apps of the corp: %v, want an error that names them", c.sdk, err)
		}
	}
}
