//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// account is the case of an alert about an account; shop stands for it in the page.
func (*alarms) account(alert string, f *fleet, account string, mend func()) alertCase {
	return alertCase{alert: alert, labels: map[string]string{"account": account}, fleet: f, page: []string{"shop", account}, mend: mend}
}

// failingAccounts is the configuration of the accounts for which the issuer fails, or their
// callers.
func failingAccounts(perDay int, lateSecret, rejecting string) string {
	return fmt.Sprintf(`
accounts:
  - {name: wx-refused, secret_file: $DIR/refused.secret, tickets: [jsapi]}
  - {name: wx-failing, secret_env: SECRET}
  - {name: wx-quota, secret_env: SECRET}
  - {name: wx-spent, secret_env: SECRET, limits: {per_day: %d, reserve: 1}}
  - {name: wx-shared, secret_env: SECRET}
  - {name: wx-rejected, secret_env: SECRET, limits: {min_interval: 1s}}
  - {name: wx-late, refresh_every: 5s, limits: {per_day: 30000}%s}
routes:
  - {name: gone, account: wx-shared, to: "http://127.0.0.1:1"}
  - {name: rejects, account: wx-rejected, to: %q}
`, perDay, lateSecret, rejecting)
}

// issuerFails is a WeChat that refuses and fails, accounts whose calls are used up, and an
// outside program.
func (a *alarms) issuerFails() *situation {
	const job = "zhongkong-issuer"
	rejecting := a.rejecting()
	config := func(perDay int, lateSecret string) string { return failingAccounts(perDay, lateSecret, rejecting) }
	f := a.fleet(job, config(30, ", secret_env: SECRET"))
	// Below 15 minutes, so that it ends soon whenever it is not replaced.
	f.tune(func(k *wechattest.Knobs) { k.TokenTTL = 800 * time.Second })
	writeFile(a.t, filepath.Join(f.env["DIR"], "refused.secret"), "ffffffffffffffffffffffffffffffff")

	f.mustRun("show", "wx-late")
	f.configure(config(30, ""))
	p := a.scraped(job, f, 1)[0]
	for _, account := range []string{"wx-failing", "wx-quota", "wx-spent", "wx-shared"} {
		f.mustRun("show", account)
	}
	f.inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, AppID: "wx-failing"})
	f.inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 45009, AppID: "wx-quota"})
	for range 3 {
		f.run("refresh", "wx-failing")
	}
	f.run("refresh", "wx-quota")
	for range 25 {
		f.mustRun("refresh", "wx-spent")
	}
	stopRoutes := a.repeat(often, func() {
		for _, route := range []string{"gone", "rejects"} {
			f.ask("ops", opsPassword, p.url+"/proxy/"+route+"/cgi-bin/getcallbackip")
		}
	})

	perInstance := map[string]string{"instance": address(p)}
	well := sync.OnceFunc(func() { f.wechat.Clear() })
	var stopConflicts func()
	cause := func() { stopConflicts = a.repeat(2*time.Second, func() { f.conflict(p, "wx-shared") }) }
	return &situation{cause: cause, cases: []alertCase{
		a.account("ZhongkongNoToken", f, "wx-refused", func() {
			writeFile(a.t, filepath.Join(f.env["DIR"], "refused.secret"), secret)
		}),
		{alert: "ZhongkongParentLacksToken", fleet: f, page: []string{"shop", "wx-refused"}},
		a.account("ZhongkongRefreshesFail", f, "wx-failing", well),
		a.account("ZhongkongTokenEndsSoon", f, "wx-failing", well),
		a.account("ZhongkongRefreshAfterEnd", f, "wx-quota", well),
		a.account("ZhongkongRefreshLate", f, "wx-late", func() { f.configure(config(100, ", secret_env: SECRET")) }),
		a.account("ZhongkongBudgetNearlyGone", f, "wx-spent", func() { f.configure(config(100, ", secret_env: SECRET")) }),
		a.account("ZhongkongConflict", f, "wx-shared", func() { stopConflicts() }),
		{alert: "ZhongkongRouteFails", labels: perInstance, fleet: f, page: a.route(p, "wx-shared", "gone"), mend: stopRoutes},
		{alert: "ZhongkongRouteTokensRejected", labels: perInstance, fleet: f, page: a.route(p, "wx-rejected", "rejects"), mend: stopRoutes},
	}}
}

// conflict has another program fetch with the same secret, and a service report the
// token that dies of it.
func (f *fleet) conflict(p *process, account string) {
	var current struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(f.ask("ops", opsPassword, p.url+"/v1/tokens/"+account), &current) != nil {
		return
	}
	f.ask("", "", f.env["ZHONGKONG_API_BASE"]+"/cgi-bin/token?grant_type=client_credential&appid="+account+"&secret="+secret)
	f.send(http.MethodPost, "ops", opsPassword, p.url+"/v1/tokens/"+account+"/refresh", `{"if_token":"`+current.AccessToken+`"}`)
}

// route is what stands for the names in a page about a route.
func (*alarms) route(p *process, account, route string) []string {
	return []string{"127.0.0.1:8080", address(p), "shop", account,
		`route="wx"`, `route="` + route + `"`, "/proxy/wx/", "/proxy/" + route + "/"}
}

func address(p *process) string { return p.url[len("http://"):] }

// rejecting starts an upstream that takes every token for a dead one.
func (a *alarms) rejecting() string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"errcode":40001,"errmsg":"invalid credential, access_token is invalid or not latest"}`)
	}))
	a.t.Cleanup(s.Close)
	return s.URL
}

func (f *fleet) tune(change func(*wechattest.Knobs)) {
	f.t.Helper()
	if err := f.wechat.Tune(change); err != nil {
		f.t.Fatal(err)
	}
}

// keyOf is the name of a key of an account.
func (f *fleet) keyOf(account, what string) string {
	return f.env["ZHONGKONG_PREFIX"] + ":{" + account + "}:" + what
}

// scrapedOnce waits until Prometheus has scraped the job.
func (a *alarms) scrapedOnce(job string) {
	a.t.Helper()
	a.jobs[job].eventually(time.Minute, "a scrape of "+job, func() bool {
		found, err := a.prometheus.query(`up{job="` + job + `"} == 1`)
		return err == nil && len(found) > 0
	})
}

// ask makes a request whose outcome does not matter, and returns the answer. It may be
// called from any goroutine.
func (f *fleet) ask(name, password, url string) []byte {
	return f.send(http.MethodGet, name, password, url, "")
}

func (*fleet) send(method, name, password, url, body string) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil
	}
	if name != "" {
		req.SetBasicAuth(name, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return answer
}
