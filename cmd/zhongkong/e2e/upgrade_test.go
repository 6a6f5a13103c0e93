//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// The accounts of the README's configuration file, and its caller.
const (
	classicAccount = appID
	stableAccount  = "wx0123456789abcdef"
	stableSecret   = "0123456789abcdef0123456789abcdef"
	shopPassword   = "the-password-of-the-shop-3"
	portalPassword = "the-password-of-the-portal-4"
)

// Accounts besides: a ticket, which is a child of the first account, and one on a refresh
// token, which each refresh uses up.
const (
	ticketAccount = classicAccount + ".jsapi"
	grantAccount  = "crm"
)

// upgrade is a fleet of two daemons, each of which is of one of two versions.
type upgrade struct {
	t           *testing.T
	before, now *fleet // the same fleet, with the program of either version
	issuer      *oauthtest.Server
	family      string // of refresh tokens of crm
	machines    [2]*machineOf
	client      http.Client
	demanded    int // calls to the source that were asked for
}

// accounts are those of the README's configuration file, and what newUpgrade adds.
func accounts() []string { return []string{classicAccount, stableAccount, ticketAccount, grantAccount} }

// machineOf is where one daemon runs.
type machineOf struct {
	config  string     // its configuration file
	mu      sync.Mutex // held for each question
	process *process   // guarded by mu: nil while it is replaced
	asked   int        // guarded by mu
}

// newUpgrade starts two daemons of the version before, with the configuration file of
// its README and what that lacks: only the files, the addresses and the password's hash are
// other ones.
func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	old := theVersionOf(t, versionBefore)
	now := newFleet(t)
	u := &upgrade{t: t, issuer: oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "zhongkong", Secret: stableSecret}}})}
	u.client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	u.issuer.Tune(func(k *oauthtest.Knobs) { k.Refresh.Replay = "1m" })
	if err := now.wechat.AddAccount(wechattest.Account{AppID: stableAccount, Secret: stableSecret}); err != nil {
		t.Fatal(err)
	}
	if err := now.wechat.Tune(func(k *wechattest.Knobs) { k.ForceMinInterval = 0 }); err != nil {
		t.Fatal(err)
	}
	configs := u.configure(now, old.readme)
	u.now = now.with("ZHONGKONG_CONFIG", configs[0], "SHOP_SECRET", stableSecret)
	for _, name := range []string{"ZHONGKONG_REDIS", "ZHONGKONG_APPID", "ZHONGKONG_SECRET", "ZHONGKONG_LISTEN"} {
		delete(u.now.env, name)
	}
	u.before = u.now.with()
	u.before.binary = old.binary
	for i := range u.machines {
		u.machines[i] = &machineOf{config: configs[i]}
		u.machines[i].process = u.before.with("ZHONGKONG_CONFIG", configs[i]).serve(1)[0]
	}
	family, token := u.issuer.Consent("zhongkong", "")
	u.family = family
	if _, err := u.request(u.machines[0].process, http.MethodPut, "/v1/grants/"+grantAccount, fmt.Sprintf(`{"refresh_token":%q}`, token)); err != nil {
		t.Fatal(err)
	}
	for _, m := range u.machines {
		u.serves(m.process)
	}
	u.demanded = 3 // the first token of each account, and the ticket
	return u
}

// configure writes the configuration file of each machine.
func (u *upgrade) configure(now *fleet, readme string) (files [2]string) {
	u.t.Helper()
	authority, dir := redistest.NewAuthority(u.t), u.t.TempDir()
	now.redis = redistest.Start(u.t, append(authority.Args(u.t), "--tls-auth-clients no")...)
	certificate, key := authority.Issue(u.t)
	writeFile(u.t, dir+"/seal.keys", now.run("keygen").token()+"\n")
	writeFile(u.t, dir+"/"+classicAccount+".secret", secret+"\n")
	issuer := httptest.NewServer(u.issuer)
	u.t.Cleanup(issuer.Close)
	example := exampleOf(u.t, readme)
	replacements := []string{
		"rediss://10.0.0.5:6379", now.redis.URL(), "127.0.0.1:8080", "127.0.0.1:0", "$argon2id$v=19$…", hashOf(u.t, now, shopPassword),
		"/etc/zhongkong/redis-ca.pem", authority.File, "/etc/zhongkong/client.pem", certificate, "/etc/zhongkong/client.key", key,
		"/etc/zhongkong/", dir + "/",
		"    label: Shop", "    tickets: [jsapi]\n    label: Shop",
		"users:\n", fmt.Sprintf("  - {name: crm, source: oauth2, grant: refresh_token, replay: 1m, limits: {min_interval: 10ms}, token_url: %s/oauth2/token, client_id: zhongkong, client_secret: %s}\n",
			issuer.URL, stableSecret) + "users:\n",
	}
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(example, replacements[i]) {
			u.t.Fatalf("the configuration file in the README of the version before does not hold %s", replacements[i])
		}
	}
	example = strings.NewReplacer(replacements...).Replace(example) + fmt.Sprintf(`
  - {name: portal, password: '%s', accounts: [crm], grant: true}
routes:
  - {name: wx, account: %s}
`, hashOf(u.t, now, portalPassword), classicAccount)
	for i := range files {
		files[i] = fmt.Sprintf("%s/zk-%d.yaml", dir, i)
		writeFile(u.t, files[i], example+fmt.Sprintf("grants: {spool: %s/spool-%d, copy: %s/copy}\n", dir, i, dir))
	}
	return files
}

// hashOf returns what stands in a configuration file for a password.
func hashOf(t *testing.T, f *fleet, password string) string {
	t.Helper()
	p := f.startWith(strings.NewReader(password+"\n"), "passwd")
	<-p.done
	if p.code() != 0 {
		t.Fatalf("passwd = %d\n%s", p.code(), p.stderr.String())
	}
	return p.token()
}

// start starts a machine's daemon and waits until it serves every account.
func (u *upgrade) start(i int, version *fleet) {
	u.t.Helper()
	m := u.machines[i]
	p := version.with("ZHONGKONG_CONFIG", m.config).serve(1)[0]
	u.serves(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process = p
}

// serves waits until a daemon serves every account. For 30 s after Redis was started again
// nothing may be presented for a grant.
func (u *upgrade) serves(p *process) {
	u.t.Helper()
	for _, account := range accounts() {
		u.now.eventually(time.Minute, "the daemon to serve "+account, func() bool {
			_, err := u.ask(p, account)
			return err == nil
		})
	}
}

// replace replaces a machine's daemon, as an upgrade does: it is taken out of service
// and ended, and the next one begins.
func (u *upgrade) replace(i int, version *fleet) {
	u.t.Helper()
	u.takeOut(i).terminates()
	u.start(i, version)
}

// takeOut takes a machine out of service.
func (u *upgrade) takeOut(i int) *process {
	m := u.machines[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.process
	m.process = nil
	return p
}

// served is what a daemon answers of a token.
type served struct {
	Token      string `json:"access_token"`
	Generation uint64 `json:"generation"`
	Stale      bool   `json:"stale"`
}

// ask asks a daemon for a token.
func (u *upgrade) ask(p *process, account string) (s served, err error) {
	return u.request(p, http.MethodGet, "/v1/tokens/"+account, "")
}

// request sends a request about a token. The shop's caller may read one account, the
// portal's puts the grant in; all other requests are an operator's.
func (u *upgrade) request(p *process, method, path, body string) (s served, err error) {
	req, err := http.NewRequestWithContext(context.Background(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		return s, err
	}
	req.SetBasicAuth("ops", "a-password-for-tests")
	if method == http.MethodGet && strings.HasSuffix(path, stableAccount) {
		req.SetBasicAuth("shop", shopPassword)
	}
	if method == http.MethodPut {
		req.SetBasicAuth("portal", portalPassword)
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return s, err
	case resp.StatusCode == http.StatusNoContent:
		return s, nil
	case resp.StatusCode != http.StatusOK:
		return s, fmt.Errorf("%s: %d %s", path, resp.StatusCode, text)
	}
	return s, json.Unmarshal(text, &s)
}

// readers reads each account all the time, from each daemon and from Redis. No reading
// may fail, and no generation may go back. It returns how many readings there were once
// the test has called stop.
func (u *upgrade) readers() (stop func() (asked int)) {
	var all sync.WaitGroup
	ended := make(chan struct{})
	loop := func(do func()) {
		all.Go(func() { // ends with ended
			for {
				select {
				case <-ended:
					return
				case <-time.After(3 * time.Millisecond):
					do()
				}
			}
		})
	}
	client := u.now.redis.Client()
	for _, account := range accounts() {
		for i, m := range u.machines {
			var last uint64
			loop(func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				if m.process == nil {
					return
				}
				m.asked++
				s, err := u.ask(m.process, account)
				if err != nil || s.Token == "" || s.Stale || s.Generation < last {
					u.t.Errorf("machine %d answers generation %d of %s after %d, stale: %t, %v", i, s.Generation, account, last, s.Stale, err)
				}
				last = max(last, s.Generation)
			})
		}
		var last uint64
		loop(func() {
			generation, err := storedGeneration(client, u.key(account, "token"))
			if err != nil || generation < last {
				u.t.Errorf("Redis holds generation %d of %s after %d: %v", generation, account, last, err)
			}
			last = max(last, generation)
		})
	}
	return func() (asked int) {
		close(ended)
		all.Wait()
		if err := client.Close(); err != nil {
			u.t.Error(err)
		}
		for _, m := range u.machines {
			asked += m.asked
		}
		return asked
	}
}

// storedGeneration reads the record of a token as a reader in another language does.
func storedGeneration(client *redis.Client, key string) (generation uint64, err error) {
	record, err := client.HGetAll(context.Background(), key).Result()
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(record["generation"], &generation); err != nil {
		return 0, fmt.Errorf("%v: %w", slices.Sorted(maps.Keys(record)), err)
	}
	if strings.Count(record["access_token"], ".") != 4 {
		return 0, fmt.Errorf("access_token is no JWE")
	}
	return generation, nil
}

func (u *upgrade) key(account, what string) string {
	return u.now.env["ZHONGKONG_PREFIX"] + ":{" + account + "}:" + what
}

// demands has each daemon replace the token of each account, and all of them report one
// that has died. Each is one call to the source.
func (u *upgrade) demands() {
	u.t.Helper()
	for _, m := range u.machines {
		for _, account := range []string{classicAccount, stableAccount} {
			u.demand(m.process, account, "")
			u.demanded++
			u.settles(account)
		}
	}
	dead, ok := u.now.wechat.KillEarly(classicAccount, wechattest.ClassicChain)
	if !ok {
		u.t.Fatal("there was no token to kill")
	}
	var reports sync.WaitGroup
	for i := range 20 {
		reports.Go(func() { u.demand(u.machines[i%2].process, classicAccount, dead.Token) })
	}
	reports.Wait()
	u.demanded++
	u.settles(classicAccount)
	u.demand(u.machines[len(u.issuer.Presentations(u.family))%2].process, grantAccount, "")
	if n := u.now.calls(); n != u.demanded {
		u.t.Errorf("%d calls to the source, want the %d that were demanded", n, u.demanded)
	}
}

// demand asks a daemon to replace a token, as often as the least time between two calls
// forbids it, or another daemon presents the refresh token.
func (u *upgrade) demand(p *process, account, dead string) {
	u.t.Helper()
	body := ""
	if dead != "" {
		body = fmt.Sprintf(`{"if_token":%q}`, dead)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s, err := u.request(p, http.MethodPost, "/v1/tokens/"+account+"/refresh", body)
		if err == nil && s.Token != dead {
			return
		}
		again := err == nil || strings.Contains(err.Error(), ": 429 ") || strings.Contains(err.Error(), "not called: ")
		if !again || time.Now().After(end) {
			u.t.Errorf("a refresh of %s: %v", account, err)
			return
		}
	}
}

// settles waits until each daemon serves what WeChat issued last.
func (u *upgrade) settles(account string) {
	u.t.Helper()
	issue, _ := u.now.wechat.LastIssued(account)
	for i, m := range u.machines {
		u.now.eventually(10*time.Second, fmt.Sprintf("machine %d to serve the last token of %s", i, account), func() bool {
			s, err := u.ask(m.process, account)
			return err == nil && s.Token == issue.Token
		})
	}
}

// Two daemons are replaced one by one, to this version and back to the one before, while
// callers read, force refreshes and report a dead token.
func TestAFleetIsUpgradedAndDowngradedWhileItServes(t *testing.T) {
	u := newUpgrade(t)
	stop := u.readers()
	u.demands()
	u.inspect()
	shapes := u.shapes()
	for _, version := range []*fleet{u.now, u.before} {
		for i := range u.machines {
			u.replace(i, version)
			u.demands()
			u.inspect()
		}
		for key, shape := range u.shapes() {
			if ofAll := strings.Contains(key, ":{}:"); !ofAll && shape != shapes[key] { // the version before has no keys of all accounts
				t.Errorf("%s is a %s, want %s", key, shape, shapes[key])
			}
		}
	}
	asked := stop()
	if asked < 100 {
		t.Errorf("%d readings are too few to show anything", asked)
	}
	u.grantIsGood()
	t.Logf("%d readings over HTTP, %d calls to the source, %d presentations of refresh tokens",
		asked, u.now.calls(), len(u.issuer.Presentations(u.family)))
}

// grantIsGood looks whether the issuer has never refused a refresh token, and accepts the
// one that the fleet has.
func (u *upgrade) grantIsGood() {
	u.t.Helper()
	// A daemon that has not heard of the last refresh would answer the demand with its token.
	u.now.eventually(10*time.Second, "all daemons to serve the same token of the grant", func() bool {
		first, err := u.ask(u.machines[0].process, grantAccount)
		second, err2 := u.ask(u.machines[1].process, grantAccount)
		return err == nil && err2 == nil && first.Token == second.Token
	})
	family := u.issuer.Family(u.family)
	presented := u.issuer.Presentations(u.family)
	for _, p := range presented {
		if p.Outcome == "refused" {
			u.t.Errorf("the issuer refused a refresh token: %+v", p)
		}
	}
	if family.Dead != "" || len(u.issuer.Accepted(u.family)) == 0 {
		u.t.Errorf("the grant is lost: %s", family.Dead)
	}
	u.demand(u.machines[0].process, grantAccount, "")
	if after := u.issuer.Presentations(u.family); len(after) == len(presented) || after[len(after)-1].Outcome != "rotated" {
		u.t.Errorf("one more refresh presented %+v", after[len(presented):])
	}
}
