//go:build unix

package e2e_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// alertCase is an alert whose cause has been made.
type alertCase struct {
	alert  string
	labels map[string]string // besides its job
	fleet  *fleet            // where its page's commands are run
	page   []string          // pairs: a name of the page, what stands for it here
	mend   func()            // what its page says beside commands; nil: nothing
}

// among reports whether the alert is one of those that fire.
func (c alertCase) among(firing []map[string]string) bool {
	return slices.ContainsFunc(firing, func(labels map[string]string) bool {
		for name, value := range c.labels {
			if labels[name] != value {
				return false
			}
		}
		return labels["alertname"] == c.alert && labels["job"] == c.fleet.env["ZHONGKONG_PREFIX"]
	})
}

// alarms is what the fleets have in common that are made to raise alerts.
type alarms struct {
	t          *testing.T
	prometheus *prometheus
	redis      *redistest.Server // of all fleets that need none of their own; each has a prefix
	jobs       map[string]*fleet
	began      time.Time
}

// often is how far apart requests are that a rate counts.
const often = 100 * time.Millisecond

// durable are the settings of a Redis that doctor finds fit for grants.
var durable = []string{"--appendonly yes", "--appendfsync always"}

// TestEveryAlertFires makes the cause of every alert at the same time, each in a fleet
// that is one job of Prometheus. It waits until each alert fires, runs the commands of
// its page, mends the cause as the page says, and waits until the alert ends. A fleet
// that is well is scraped all the while, and raises none.
func TestEveryAlertFires(t *testing.T) {
	t.Parallel()
	a := &alarms{t: t, began: time.Now(), redis: redistest.Start(t, durable...), jobs: make(map[string]*fleet)}
	a.prometheus = startPrometheus(t)
	a.healthy()
	var groups []*situation
	for _, prepare := range []func(*alarms) *situation{
		(*alarms).notNotified, (*alarms).grantsEnd, (*alarms).issuerFails, (*alarms).notConfirmed, (*alarms).keyMissing,
		(*alarms).rightsLost, (*alarms).redisAway, (*alarms).callersErr, (*alarms).logUnread, (*alarms).filesStuck, (*alarms).dead,
	} {
		groups = append(groups, prepare(a))
	}
	a.coverEveryAlert(groups)
	for _, s := range groups {
		s.cause()
	}
	for end := time.Now().Add(4 * time.Minute); len(groups) > 0; time.Sleep(200 * time.Millisecond) {
		firing := a.prometheus.firing()
		groups = slices.DeleteFunc(groups, func(s *situation) bool { return a.proceed(s, firing) })
		if time.Now().After(end) {
			for _, s := range groups {
				t.Errorf("waited in vain for %s", s.awaited)
			}
			break
		}
	}

	for fleet, others := range map[string]string{
		"that is well":          `job="zhongkong-healthy"`,
		"that lacked its Redis": `job="zhongkong-redis",alertname!="ZhongkongRedisAway"`,
	} {
		raised, err := a.prometheus.query(`count_over_time(ALERTS{` + others + `,alertstate="firing"}[1h])`)
		if err != nil || len(raised) > 0 {
			t.Errorf("in the fleet %s, alerts have fired: %v, %v", fleet, raised, err)
		}
	}
}

// situation is a fleet with a cause of some alerts, and how far its alerts have come.
type situation struct {
	cause   func()
	cases   []alertCase
	fired   []alertCase
	mended  bool
	awaited string
}

// proceed looks at the alerts of a situation: when all have fired, their cause is mended.
// It reports whether all have ended since.
func (a *alarms) proceed(s *situation, firing []map[string]string) (ended bool) {
	a.t.Helper()
	s.awaited = ""
	for _, c := range s.cases {
		fires := c.among(firing)
		switch fired := slices.ContainsFunc(s.fired, func(d alertCase) bool { return d.alert == c.alert }); {
		case fires && !fired:
			a.run(c, readRunbook(a.t, c.alert).look)
			s.fired = append(s.fired, c)
			a.t.Logf("%v: %s fires", time.Since(a.began).Round(time.Second), c.alert)
		case !fired:
			s.awaited += " " + c.alert + " to fire"
		case s.mended && fires:
			s.awaited += " " + c.alert + " to end"
		}
	}
	if s.awaited != "" || s.mended {
		return s.awaited == ""
	}
	for _, c := range s.cases {
		if c.mend != nil {
			c.mend()
		}
	}
	for _, c := range s.cases {
		a.run(c, readRunbook(a.t, c.alert).do)
	}
	s.mended = true
	return false
}

// run runs commands of the case's page.
func (a *alarms) run(c alertCase, commands []pageCommand) {
	a.t.Helper()
	here := []string{"ops:PASSWORD", "ops:" + opsPassword, "https://api.weixin.qq.com", c.fleet.env["ZHONGKONG_API_BASE"]}
	replace := strings.NewReplacer(append(here, c.page...)...)
	for _, one := range commands {
		if d := one.difference(a.t.Context(), c.fleet, replace); d != "" {
			a.t.Errorf("%s: %s", c.alert, d)
		}
	}
}

// coverEveryAlert compares the cases with the rules, and the rules with the pages.
func (a *alarms) coverEveryAlert(groups []*situation) {
	a.t.Helper()
	rules, err := os.ReadFile(alertRules)
	if err != nil {
		a.t.Fatal(err)
	}
	covered := make(map[string]bool)
	for _, s := range groups {
		for _, c := range s.cases {
			covered[c.alert] = true
		}
	}
	named := make(map[string]bool)
	for _, found := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		named[found[1]] = true
	}
	if !maps.Equal(covered, named) {
		a.t.Errorf("the alerts are %v, the cases %v", slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(covered)))
	}
}

// fleet returns a fleet with a configuration, which is a job. It has a prefix of its own in Redis and
// a WeChat of its own, in which the accounts named wx… exist.
func (a *alarms) fleet(job, config string) *fleet {
	a.t.Helper()
	f := &fleet{t: a.t, redis: a.redis, binary: binary, wechat: wechattest.New(wechattest.Config{})}
	for _, name := range regexp.MustCompile(`\bname: (wx[-\w]+)`).FindAllStringSubmatch(config, -1) {
		if err := f.wechat.AddAccount(wechattest.Account{AppID: name[1], Secret: secret}); err != nil {
			a.t.Fatal(err)
		}
	}
	dir := a.t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "zhongkong")); err != nil && filepath.Base(binary) != "zhongkong" {
		a.t.Fatal(err)
	}
	f.env = map[string]string{
		"PATH":               dir + ":" + os.Getenv("PATH"),
		"DIR":                dir,
		"SECRET":             secret,
		"ZHONGKONG_REDIS":    a.redis.URL(),
		"ZHONGKONG_PREFIX":   job,
		"ZHONGKONG_CONFIG":   filepath.Join(dir, "zk.yaml"),
		"ZHONGKONG_API_BASE": f.wechat.Start(a.t),
		"ZHONGKONG_LISTEN":   "127.0.0.1:0",
		"ZHONGKONG_USERS":    "ops:" + opsPassword,
	}
	f.configure(config)
	a.jobs[job] = f
	return f
}

// configure writes the fleet's configuration. $DIR is a directory of the fleet.
func (f *fleet) configure(config string) {
	f.t.Helper()
	text := "metrics_open: true\nbudget: {min_interval: 1ms}\n" + strings.ReplaceAll(config, "$DIR", f.env["DIR"])
	writeFile(f.t, f.env["ZHONGKONG_CONFIG"], text)
}

// scraped starts n daemons that are the job's targets.
func (a *alarms) scraped(job string, f *fleet, n int) []*process {
	a.t.Helper()
	all := f.serve(n)
	a.prometheus.scrape(job, all...)
	return all
}

// repeat does something again and again until the test or the returned function ends it.
// Causes that Prometheus forgets within seconds are repeated until their alert has fired.
func (a *alarms) repeat(every time.Duration, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // stop waits for it
		defer close(ended)
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				do()
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	a.t.Cleanup(stop)
	return stop
}

// mustRun runs a command that succeeds.
func (f *fleet) mustRun(args ...string) *process {
	f.t.Helper()
	p := f.run(args...)
	if p.code() != 0 {
		f.t.Fatalf("%v = %d\n%s", args, p.code(), p.stderr.String())
	}
	return p
}

// healthy starts the fleet that is well.
func (a *alarms) healthy() {
	a.t.Helper()
	issuer, url := a.issuer()
	f := a.fleet("zhongkong-healthy", sealedGrants(a.t)+"accounts:\n"+
		"  - {name: wx-shop, secret_env: SECRET, tickets: [jsapi]}\n"+oauthAccount("crm", url)+
		"routes:\n  - {name: wx, account: wx-shop}\n")
	f.importGrant("crm", issuer)
	servers := a.scraped("zhongkong-healthy", f, 2)
	a.repeat(often, func() {
		for _, p := range servers {
			f.ask("ops", opsPassword, p.url+"/v1/tokens/wx-shop")
			f.ask("ops", opsPassword, p.url+"/proxy/wx/cgi-bin/getcallbackip")
		}
	})
}
