//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// callers call the machines all the time, as clients with a retry do: what one machine
// does not answer with success, they ask the other, for at most patience. Each token must
// be one that its issuer accepts. stop returns how many calls there were, and how many of
// them needed more than one try.
func (u *upgrade) callers() (stop func() (asked, retried int64)) {
	var all sync.WaitGroup
	var asked, retried atomic.Int64
	ended := make(chan struct{})
	calls := []func(i int) error{u.callsThroughTheRoute}
	for _, account := range accounts() {
		calls = append(calls, func(i int) error { return u.reads(i, account) })
	}
	for n := range calls {
		all.Go(func() { // ends with ended
			for turn := n; ; turn++ {
				select {
				case <-ended:
					return
				case <-time.After(15 * time.Millisecond):
				}
				asked.Add(1)
				if tries := u.persists(calls[n], turn); tries > 1 {
					retried.Add(1)
				}
			}
		})
	}
	return func() (int64, int64) {
		close(ended)
		all.Wait()
		return asked.Load(), retried.Load()
	}
}

// persists tries a call with one machine after the other.
func (u *upgrade) persists(call func(i int) error, first int) (tries int) {
	const patience = 20 * time.Second
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := call((first + tries) % len(u.machines))
		tries++
		if err == nil {
			return tries
		}
		if time.Now().After(end) {
			u.t.Errorf("a caller had no answer for %v: %v", patience, err)
			return tries
		}
	}
}

// at returns a machine's daemon, even if it was just killed.
func (u *upgrade) at(i int) (*process, error) {
	m := u.machines[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil, fmt.Errorf("machine %d is out of service", i)
	}
	return m.process, nil
}

func (u *upgrade) reads(i int, account string) error {
	p, err := u.at(i)
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := u.ask(p, account)
	if err != nil {
		return err
	}
	accepted := u.now.wechat.Accepts(s.Token, began) || u.now.wechat.Accepts(s.Token, time.Now()) // issued meanwhile
	if account == ticketAccount {
		issue, known := u.now.wechat.Lookup(s.Token)
		accepted = known && issue.DiesAt.After(began)
	}
	if account == grantAccount {
		accepted = accepted || u.issuer.Valid(s.Token)
	} else {
		accepted = accepted || u.replacedJustNow(account, s.Token, began)
	}
	if !accepted {
		u.t.Errorf("at %s machine %d answers a token of %s that its issuer does not accept; it has issued %s",
			began.Format(milliseconds), i, account, u.issues(s.Token))
	}
	return nil
}

// unknownFor is how long after its answer the issuer's newer token may be unknown: the
// time of one try to store it, and as long for a second one and the notification. No
// machine can serve it before, and of the classic endpoint each call kills at once what
// was issued before the last token.
const unknownFor = 2 * time.Second

// replacedJustNow reports whether the issuer has killed a token by an issue of which the
// machines could not know yet.
func (u *upgrade) replacedJustNow(account, token string, at time.Time) bool {
	killed, known := u.now.wechat.Lookup(token)
	newest, _ := u.now.wechat.LastIssued(account)
	return known && newest.Seq > killed.Seq && (newest.Finished.IsZero() || at.Sub(newest.Finished) < unknownFor)
}

const milliseconds = "15:04:05.000"

// issues describes what was issued for the account of a token.
func (u *upgrade) issues(token string) string {
	its, known := u.now.wechat.Lookup(token)
	if !known {
		return "no such token"
	}
	var b strings.Builder
	for _, i := range u.now.wechat.Issued() {
		if i.AppID == its.AppID && i.Chain == its.Chain {
			fmt.Fprintf(&b, "\n\tnumber %d at %s, answered at %s (%v), dies at %s", i.Seq, i.IssuedAt.Format(milliseconds),
				i.Finished.Format(milliseconds), i.Delivered, i.DiesAt.Format(milliseconds))
		}
	}
	return fmt.Sprintf("%s\n\tand answered is number %d", b.String(), its.Seq)
}

// callsThroughTheRoute calls WeChat through a machine's route.
func (u *upgrade) callsThroughTheRoute(i int) error {
	p, err := u.at(i)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.url+"/proxy/wx/cgi-bin/getcallbackip", http.NoBody)
	if err != nil {
		return err
	}
	req.SetBasicAuth("ops", opsPassword)
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(body), "ip_list") {
		err = fmt.Errorf("machine %d: a call through the route: %d %s", i, resp.StatusCode, body)
	}
	return err
}

// isKilledAndReplaced kills a machine's daemon while it waits for the answer to a refresh.
// A daemon of the version takes its place.
func (u *upgrade) isKilledAndReplaced(i int, version *fleet) {
	u.t.Helper()
	u.now.inject(afterIssuing(8 * time.Second))
	issued := len(u.now.wechat.Issued())
	p := u.machines[i].process
	asking := make(chan struct{})
	go func() { // ends when p is killed
		defer close(asking)
		_, _ = u.request(p, http.MethodPost, "/v1/tokens/"+classicAccount+"/refresh", "")
	}()
	u.now.eventually(10*time.Second, "the call to the issuer", func() bool { return len(u.now.wechat.Issued()) > issued })
	p.signal(syscall.SIGKILL)
	<-p.done
	<-asking
	u.start(i, version)
	u.now.eventually(20*time.Second, "the refresh that was cut off to be made again", func() bool { return len(u.now.wechat.Issued()) > issued+1 })
	u.settles(classicAccount)
}

// losesAnAnswer has the issuer use a refresh token up without an answer. The next refresh
// presents it once more.
func (u *upgrade) losesAnAnswer(i int) {
	u.t.Helper()
	u.issuer.Inject(oauthtest.Fault{Kind: "drop", Issued: true})
	p, path := u.machines[i].process, "/v1/tokens/"+grantAccount+"/refresh"
	if _, err := u.request(p, http.MethodPost, path, ""); err == nil {
		u.t.Error("a refresh whose answer is lost succeeds")
	}
	var err error
	defer func() {
		if err != nil {
			u.t.Log(err)
		}
	}()
	u.now.eventually(40*time.Second, "a refresh after the lost answer", func() bool {
		_, err = u.request(p, http.MethodPost, path, "")
		return err == nil
	})
}

// isReplacedWithoutRedis replaces a machine's daemon while there is no Redis. The one that
// comes back is empty.
func (u *upgrade) isReplacedWithoutRedis(i int, version *fleet) {
	u.t.Helper()
	u.now.redis.Kill()
	p := u.takeOut(i)
	p.signal(syscall.SIGTERM)
	u.now.eventually(20*time.Second, "it to end", p.ended)
	next := version.with("ZHONGKONG_CONFIG", u.machines[i].config).serve(1)[0]
	u.now.redis.Restart(u.t)
	u.serves(next)
	m := u.machines[i]
	m.mu.Lock()
	m.process = next
	m.mu.Unlock()
	for _, account := range []string{classicAccount, stableAccount} {
		u.settles(account)
	}
}

// Daemons are replaced by this version and by the one before again, while the issuer is
// slow and loses answers, daemons are killed in the middle of a refresh, and Redis loses
// everything.
func TestAFleetIsUpgradedAndDowngradedUnderFaults(t *testing.T) {
	u := newUpgrade(t)
	u.now.slow(200 * time.Millisecond)
	u.issuer.Tune(func(k *oauthtest.Knobs) { k.Latency = oauthtest.Duration(200 * time.Millisecond) })
	stop := u.callers()
	for _, version := range []*fleet{u.now, u.before} {
		u.isKilledAndReplaced(0, version)
		u.losesAnAnswer(0) // to the other version than machine 1 has
		u.isReplacedWithoutRedis(1, version)
		u.losesAnAnswer(1)
	}
	asked, retried := stop()
	u.grantIsGood()
	// Of a killed call nobody knows whether it was the last one, so up to two follow it. A
	// daemon that starts on an empty Redis may ask for what another has not put back yet:
	// two tokens and a ticket.
	if n, most := u.now.calls(), u.demanded+2*(1+2)+2*3; n > most {
		t.Errorf("%d calls to WeChat, want at most %d: %+v", n, most, u.now.wechat.Calls())
	}
	if asked < 100 {
		t.Errorf("%d calls are too few to show anything", asked)
	}
	t.Logf("%d calls over HTTP, %d of them with a retry; %d calls to WeChat, %d presentations of refresh tokens",
		asked, retried, u.now.calls(), len(u.issuer.Presentations(u.family)))
}
