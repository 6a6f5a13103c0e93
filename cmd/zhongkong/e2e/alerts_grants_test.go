//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// issuer starts an OAuth2 issuer that uses refresh tokens up.
func (a *alarms) issuer() (*oauthtest.Server, string) {
	issuer := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "zhongkong", Secret: "the-secret-of-the-client"}}})
	s := httptest.NewServer(issuer)
	a.t.Cleanup(s.Close)
	return issuer, s.URL + "/oauth2/token"
}

// sealedGrants is the configuration of grants, whose files are in the fleet's directory.
func sealedGrants(t *testing.T) string {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "seal.keys")
	writeFile(t, keys, seal.NewLine(time.Now())+"\n")
	return "seal_key_file: " + keys + "\ngrants: {spool: $DIR/spool, copy: $DIR/copy}\n"
}

func oauthAccount(name, url string) string {
	return "  - {name: " + name + ", source: oauth2, grant: refresh_token, token_url: " + url +
		", client_id: zhongkong, client_secret: the-secret-of-the-client}\n"
}

// consented lets a person consent and writes the refresh token into a file.
func (f *fleet) consented(account string, issuer *oauthtest.Server) (file string) {
	f.t.Helper()
	_, token := issuer.Consent("zhongkong", "")
	file = filepath.Join(f.env["DIR"], account+".refresh-token")
	writeFile(f.t, file, token)
	return file
}

// importGrant puts in a grant that a person has given.
func (f *fleet) importGrant(account string, issuer *oauthtest.Server) {
	f.t.Helper()
	in, err := os.Open(f.consented(account, issuer))
	if err != nil {
		f.t.Fatal(err)
	}
	defer in.Close()
	p := f.startWith(in, "grant", "import", account)
	if <-p.done; p.code() != 0 {
		f.t.Fatalf("grant import = %d\n%s", p.code(), p.stderr.String())
	}
}

// grantsEnd is a grant that nobody has given, one in doubt, one that ends, a platform
// without pushes, and an issuer that takes its time.
func (a *alarms) grantsEnd() *situation {
	const job = "zhongkong-grants"
	none, noneURL := a.issuer()
	doubt, doubtURL := a.issuer()
	ends, endsURL := a.issuer()
	f := a.fleet(job, sealedGrants(a.t)+"accounts:\n"+
		oauthAccount("none", noneURL)+oauthAccount("doubt", doubtURL)+oauthAccount("ends", endsURL)+
		"  - {name: platform, source: wechat_platform, appid: wxplatform, secret_env: SECRET, callback_token: a-token-of-the-callback, "+
		"encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG}\n")
	err := f.wechat.AddComponent(wechattest.Component{AppID: "wxplatform", Secret: secret, Token: "a-token-of-the-callback",
		EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", URL: "http://127.0.0.1:1/"})
	if err != nil {
		a.t.Fatal(err)
	}
	f.importGrant("doubt", doubt)
	ends.Tune(func(k *oauthtest.Knobs) {
		k.Refresh.Idle, k.Refresh.ExpiresInName = oauthtest.Duration(90*time.Second), "refresh_token_expires_in"
	})
	f.importGrant("ends", ends)
	p := a.scraped(job, f, 1)[0]
	f.mustRun("show", "doubt")
	f.mustRun("show", "ends")
	grant := func(alert, account string, issuer *oauthtest.Server) alertCase {
		return alertCase{
			alert: alert, labels: map[string]string{"account": account}, fleet: f,
			page: []string{"crm.refresh-token", f.env["DIR"] + "/" + account + ".refresh-token", "crm", account},
			mend: func() {
				issuer.ClearFaults()
				issuer.Tune(func(k *oauthtest.Knobs) { k.Refresh.Idle = 0; k.Refresh.ExpiresInName = "" })
				f.consented(account, issuer)
			},
		}
	}
	cause := func() {
		doubt.Inject(oauthtest.Fault{Kind: "drop", Issued: true})
		f.run("refresh", "doubt")
		ends.Inject(oauthtest.Fault{Kind: "error", Status: http.StatusUnauthorized, Error: "invalid_client", Times: -1})
	}
	return &situation{cause: cause, cases: []alertCase{
		grant("ZhongkongConsentNeeded", "none", none),
		grant("ZhongkongGrantInDoubt", "doubt", doubt),
		grant("ZhongkongGrantEndsSoon", "ends", ends),
		{
			alert: "ZhongkongPushesMissing", labels: map[string]string{"account": "platform"}, fleet: f,
			page: []string{"127.0.0.1:8080", address(p)}, mend: func() { a.push(f, p) },
		},
	}}
}

// push has the WeChat of a fleet push to one of its servers until the test ends.
func (a *alarms) push(f *fleet, p *process) {
	a.t.Helper()
	if err := f.wechat.SetURL("wxplatform", p.url+"/callback/platform", nil); err != nil {
		a.t.Fatal(err)
	}
	if err := f.wechat.PushTicket("wxplatform"); err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var pushing sync.WaitGroup
	pushing.Go(func() { f.wechat.RunPushes(ctx, &http.Transport{DisableKeepAlives: true}) }) // ends with the test
	a.t.Cleanup(func() { cancel(); pushing.Wait() })
}

// notConfirmed is a fleet that demands a replica of a Redis that has none.
func (a *alarms) notConfirmed() *situation {
	const job = "zhongkong-replica"
	issuer, url := a.issuer()
	f := a.fleet(job, sealedGrants(a.t)+oneAccount+oauthAccount("crm", url))
	f.redis = redistest.Start(a.t, durable...)
	f.env["ZHONGKONG_REDIS"] = f.redis.URL()
	f.importGrant("crm", issuer)
	f = f.with("ZHONGKONG_REPLICAS", "1")
	a.jobs[job] = f
	p := a.scraped(job, f, 1)[0]
	instance := map[string]string{"instance": address(p)}
	var stop func()
	start := sync.OnceFunc(func() {
		stop()
		redistest.Start(a.t, fmt.Sprintf("--replicaof 127.0.0.1 %d", f.redis.Port()))
	})
	cause := func() {
		stop = a.repeat(2*time.Second, func() { f.send(http.MethodPost, "ops", opsPassword, p.url+"/v1/tokens/wx-shop/refresh", "") })
	}
	return &situation{cause: cause, cases: []alertCase{
		{alert: "ZhongkongUnconfirmedTokens", labels: instance, fleet: f, page: []string{"shop", "wx-shop"}, mend: start},
		{alert: "ZhongkongGrantUnconfirmed", labels: instance, fleet: f, mend: start},
	}}
}
