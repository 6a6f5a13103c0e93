//go:build unix

package e2e_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

const oneAccount = "accounts:\n  - {name: wx-shop, secret_env: SECRET}\n"

// keyMissing is a fleet of which a reader lacks the key that seals the newest token.
// Its WeChat needs six seconds for a token.
func (a *alarms) keyMissing() *situation {
	const job = "zhongkong-sealed"
	f := a.fleet(job, "accounts:\n  - {name: wx-shop}\n")
	older, newer := seal.NewLine(time.Now())+"\n", strings.Replace(seal.NewLine(time.Now()), ":", "x:", 1)+"\n"
	behind, ahead := filepath.Join(f.env["DIR"], "behind.keys"), filepath.Join(f.env["DIR"], "ahead.keys")
	writeFile(a.t, behind, older)
	writeFile(a.t, ahead, older)
	f.env["ZHONGKONG_SEAL_KEY_FILE"] = behind
	config := filepath.Join(f.env["DIR"], "refresher.yaml")
	writeFile(a.t, config, "metrics_open: true\n"+oneAccount+"  - {name: wx-slow, secret_env: SECRET, refresh_every: 10s}\n")
	refresher := f.with("ZHONGKONG_CONFIG", config, "ZHONGKONG_SEAL_KEY_FILE", ahead)
	if err := f.wechat.AddAccount(wechattest.Account{AppID: "wx-slow", Secret: secret}); err != nil {
		a.t.Fatal(err)
	}
	second := refresher.serve(1)[0]
	refresher.mustRun("show", "wx-shop")
	first := f.serve(1)[0]
	f.eventually(time.Minute, "the reader to have the token", func() bool { return first.generation() != 0 })
	a.prometheus.scrape(job, first, second)
	a.scrapedOnce(job)
	writeFile(a.t, ahead, newer+older)
	cause := func() {
		f.tune(func(k *wechattest.Knobs) { k.Latency = 6 * time.Second })
		refresher.mustRun("refresh", "--wait", "30s", "wx-shop")
	}
	mend := sync.OnceFunc(func() {
		writeFile(a.t, behind, older+newer)
		f.tune(func(k *wechattest.Knobs) { k.Latency = 0 })
	})
	page := []string{"shop", "wx-shop", "127.0.0.1:8080", address(first)}
	return &situation{cause: cause, cases: []alertCase{
		{alert: "ZhongkongGenerationsDiffer", labels: map[string]string{"account": "wx-shop"}, fleet: f, page: page, mend: mend},
		{alert: "ZhongkongIssuerSlow", fleet: f, page: page, mend: mend},
	}}
}

// rightsLost is a server whose Redis user loses its rights.
func (a *alarms) rightsLost() *situation {
	const job = "zhongkong-rights"
	f := a.fleet(job, oneAccount)
	f.redis.MustDo(a.t, "ACL", "SETUSER", "zhongkong-refresher", "on", ">password", "+@all", "~*", "&*")
	f.env["ZHONGKONG_REDIS"] = "redis://zhongkong-refresher:password@" + f.redis.Addr()
	p := a.scraped(job, f, 1)[0]
	f.mustRun("show", "wx-shop")
	cause := func() {
		f.redis.MustDo(a.t, "ACL", "SETUSER", "zhongkong-refresher", "resetkeys")
		a.repeat(often, func() { f.ask("ops", opsPassword, p.url+"/v1/tokens/wx-shop") })
	}
	return &situation{cause: cause, cases: []alertCase{{
		alert: "ZhongkongStaleServed", labels: map[string]string{"instance": address(p)}, fleet: f,
		page: []string{"shop", "wx-shop", "127.0.0.1:8080", address(p)},
		mend: func() { f.redis.MustDo(a.t, "ACL", "SETUSER", "zhongkong-refresher", "~*") },
	}}}
}

// redisAway is a fleet whose Redis is killed. Meanwhile a second process starts: what it reads
// when Redis is back, such as conflicts of long ago, must not look like news.
func (a *alarms) redisAway() *situation {
	const job = "zhongkong-redis"
	f := a.fleet(job, oneAccount)
	f.redis = redistest.Start(a.t, durable...)
	f.env["ZHONGKONG_REDIS"] = f.redis.URL()
	f.mustRun("show", "wx-shop")
	f.redis.MustDo(a.t, "HSET", f.keyOf("wx-shop", "state"), "conflicts", 3)
	p := a.scraped(job, f, 1)[0]
	cause := func() {
		f.redis.Kill()
		a.prometheus.scrape(job, p, f.serve(1)[0])
	}
	return &situation{cause: cause, cases: []alertCase{{
		alert: "ZhongkongRedisAway", fleet: f,
		page: []string{"shop", "wx-shop", "127.0.0.1:8080", address(p)}, mend: func() { f.redis.Restart(a.t) },
	}}}
}

// callersErr is a server that may open few files, with a caller that has an old password
// and one that opens connections and keeps them. Its log is where the page looks for it.
func (a *alarms) callersErr() *situation {
	const job = "zhongkong-callers"
	f := a.fleet(job, oneAccount+"routes:\n  - {name: wx, account: wx-shop}\n")
	f.script("journalctl", "cat $DIR/log")
	f.binary = f.script("limited", "ulimit -n 256\nexec "+binary+` "$@" 2> >(tee $DIR/log >&2)`)
	p := a.scraped(job, f, 1)[0]
	f.binary = binary
	a.scrapedOnce(job)
	var connections []net.Conn
	var stop func()
	cause := func() {
		stop = a.repeat(often, func() {
			f.ask("portal", "an-old-password", p.url+"/v1/tokens/wx-shop")
			for range 5 {
				if c, err := net.Dial("tcp", address(p)); err == nil {
					connections = append(connections, c)
				}
			}
		})
	}
	mend := sync.OnceFunc(func() {
		stop()
		for _, c := range connections {
			_ = c.Close()
		}
	})
	labels, page := map[string]string{"instance": address(p)}, []string{"shop", "wx-shop", "127.0.0.1:8080", address(p)}
	return &situation{cause: cause, cases: []alertCase{
		{alert: "ZhongkongCallersRefused", labels: labels, fleet: f, page: page, mend: mend},
		{alert: "ZhongkongConnectionsClosed", labels: labels, fleet: f, page: page, mend: mend},
	}}
}

// logUnread is a server the reader of whose log is gone.
func (a *alarms) logUnread() *situation {
	const job = "zhongkong-log"
	f := a.fleet(job, "accounts:\n  - {name: "+appID+", secret_env: SECRET}\n")
	f.keepsAddress()
	p := f.servePiped()
	a.prometheus.scrape(job, p.process)
	a.scrapedOnce(job)
	var stop func()
	cause := func() {
		_ = p.log.Close()
		stop = a.repeat(2*time.Second, func() { // each is a line
			f.send(http.MethodPost, "ops", opsPassword, p.url+"/v1/tokens/"+appID+"/refresh", "")
		})
	}
	return &situation{cause: cause, cases: []alertCase{{
		alert: "ZhongkongLogDropped", labels: map[string]string{"instance": address(p.process)}, fleet: f,
		page: []string{"shop", appID, "127.0.0.1:8080", address(p.process)},
		mend: func() {
			stop()
			p.signal(syscall.SIGKILL)
			<-p.done
			a.scraped(job, f, 1)
		},
	}}}
}

// notNotified is a reader whose Redis gets tokens, but no messages about them, as from a
// service that replicates only keys.
func (a *alarms) notNotified() *situation {
	const job = "zhongkong-messages"
	f := a.fleet(job, oneAccount)
	f.mustRun("show", "wx-shop")
	f.configure("accounts:\n  - {name: wx-shop}\n")
	p := a.scraped(job, f, 1)[0]
	f.eventually(time.Minute, "the reader to have the token", func() bool { return p.generation() != 0 })
	a.scrapedOnce(job)
	var stop func()
	cause := func() {
		stop = a.repeat(often, func() {
			_, _ = f.redis.Do(context.Background(), "HINCRBY", f.keyOf("wx-shop", "token"), "generation", 1)
			_, _ = f.redis.Do(context.Background(), "ZADD", f.keyOf("", "changes"), time.Now().UnixMicro(), "wx-shop")
		})
	}
	return &situation{cause: cause, cases: []alertCase{{
		alert: "ZhongkongNotificationsMissed", labels: map[string]string{"instance": address(p)}, fleet: f,
		page: []string{"shop", "wx-shop", "127.0.0.1:8080", address(p)}, mend: func() { stop() },
	}}}
}

// dead is a fleet whose only process is killed. Its job is named as an operator may name the
// Service of the chart.
func (a *alarms) dead() *situation {
	const job = "tokens"
	f := a.fleet(job, oneAccount)
	f.keepsAddress()
	p := a.scraped(job, f, 1)[0]
	a.scrapedOnce(job)
	start := sync.OnceFunc(func() { f.serve(1) })
	page := []string{"shop", "wx-shop", "127.0.0.1:8080", address(p)}
	return &situation{cause: func() { p.signal(syscall.SIGKILL) }, cases: []alertCase{
		{alert: "ZhongkongDown", labels: map[string]string{"instance": address(p)}, fleet: f, page: page, mend: start},
		{alert: "ZhongkongAllDown", fleet: f, page: page, mend: start},
	}}
}

// keepsAddress has the fleet's only process listen at the same address when it is started again.
func (f *fleet) keepsAddress() {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.env["ZHONGKONG_LISTEN"] = l.Addr().String()
	_ = l.Close()
}

// script writes a program into the fleet's directory.
func (f *fleet) script(name, text string) (path string) {
	f.t.Helper()
	path = filepath.Join(f.env["DIR"], name)
	if err := os.WriteFile(path, []byte("#!/bin/bash\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // a program
		f.t.Fatal(err)
	}
	return path
}

// filesStuck is a server with a token file whose directory is removed, and one whose
// command fails.
func (a *alarms) filesStuck() *situation {
	const job = "zhongkong-files"
	f := a.fleet(job, oneAccount+`files:
  - {account: wx-shop, path: $DIR/tokens/shop}
  - {account: wx-shop, path: $DIR/told/shop, notify: [$DIR/reload]}
`)
	tokens, told := filepath.Join(f.env["DIR"], "tokens"), filepath.Join(f.env["DIR"], "told")
	for _, dir := range []string{tokens, told} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			a.t.Fatal(err)
		}
	}
	reload := f.script("reload", "exit 0")
	p := a.scraped(job, f, 1)[0]
	a.scrapedOnce(job)
	var stop func()
	cause := func() {
		f.script("reload", "echo the program is not there\nexit 1")
		if err := os.RemoveAll(tokens); err != nil {
			a.t.Fatal(err)
		}
		stop = a.repeat(2*time.Second, func() { f.send(http.MethodPost, "ops", opsPassword, p.url+"/v1/tokens/wx-shop/refresh", "") })
	}
	mend := sync.OnceFunc(func() {
		stop()
		f.script("reload", "exit 0")
	})
	page := []string{"127.0.0.1:8080", address(p), "/run/tokens", tokens,
		"/run/told", told, "/usr/local/bin/reload", reload, `"shop"`, `"wx-shop"`}
	labels := func(path string) map[string]string {
		return map[string]string{"instance": address(p), "account": "wx-shop", "path": path}
	}
	return &situation{cause: cause, cases: []alertCase{
		{alert: "ZhongkongFileNotWritten", labels: labels(tokens + "/shop"), fleet: f, page: page, mend: mend},
		{alert: "ZhongkongFileNotifyFails", labels: labels(told + "/shop"), fleet: f, page: page, mend: mend},
	}}
}
