//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// grace is how long a replaced token is accepted in these tests: long enough to
// hear of the new one, and far too short to hide that one did not.
const grace = time.Second

// machine is where one process of a fleet runs, with a key file of its own.
type machine struct {
	*fleet
	name    string
	keys    string   // the path of its key file
	process *process // nil while it is restarted
}

// audience asks every machine for its token, all the time, and judges the answers
// by what WeChat accepts.
type audience struct {
	f        *fleet
	machines []*machine
	client   http.Client
	forced   int

	mu    sync.Mutex // held for each question; guards the processes of machines
	asked int
}

// newAudience starts two refreshers and a reader.
func newAudience(t *testing.T) *audience {
	t.Helper()
	f := newFleet(t)
	if err := f.wechat.Tune(func(k *wechattest.Knobs) { k.Grace, k.GraceGenerations = grace, wechattest.AllGenerations }); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, dir+"/zk.yaml", "budget: {min_interval: 1ms}\n")
	f = f.with("ZHONGKONG_CONFIG", dir+"/zk.yaml")
	// A connection that was opened and not used yet holds a daemon up that is to
	// end: one that is kept, by two who ask at a time, is such a one now and then.
	once := &http.Transport{DisableKeepAlives: true}
	a := &audience{f: f, client: http.Client{Timeout: 5 * time.Second, Transport: once}}
	for _, name := range []string{"refresher 1", "reader", "refresher 2"} {
		m := &machine{fleet: f, name: name, keys: filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".keys")}
		if name == "reader" {
			m.fleet = f.with("ZHONGKONG_SECRET", "")
		}
		a.machines = append(a.machines, m)
	}
	for _, i := range []int{0, 2, 1} {
		a.start(a.machines[i], "")
	}
	ended, stop := make(chan struct{}), make(chan struct{})
	go func() { // ends with the test; the cleanup waits for it
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				a.askAll()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended })
	return a
}

// start starts a machine's process with that --seal, "" for one without keys, and
// waits until it says that it can be asked.
func (a *audience) start(m *machine, seal string) {
	a.f.t.Helper()
	f := m.fleet
	if seal != "" {
		f = f.with("ZHONGKONG_SEAL_KEY_FILE", m.keys, "ZHONGKONG_SEAL", seal)
	}
	p := f.serve(1)[0]
	a.f.eventually(10*time.Second, m.name+" to be ready", func() bool {
		status, _ := a.get(p, "/readyz?account="+appID)
		return status == http.StatusOK
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	m.process = p
}

// stop takes a machine out of service, and ends its process.
func (a *audience) stop(m *machine) {
	a.f.t.Helper()
	a.mu.Lock()
	p := m.process
	m.process = nil
	a.mu.Unlock()
	p.terminates()
	for line := range strings.Lines(p.stderr.String()) {
		if strings.Contains(line, "cannot be opened") || strings.Contains(line, "not be read") {
			a.f.t.Errorf("%s met what it cannot open: %s", m.name, line)
		}
	}
}

func (a *audience) get(p *process, path string) (status int, token string) {
	req, err := http.NewRequest(http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return 0, ""
	}
	req.SetBasicAuth("ops", "a-password-for-tests")
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var answer struct {
		Token string `json:"access_token"`
	}
	_ = json.Unmarshal(body, &answer) // not all answers are JSON
	return resp.StatusCode, answer.Token
}

// askAll asks each machine in service once. What it answers must be a token that
// WeChat accepted when it was asked, or accepts when it has answered.
func (a *audience) askAll() {
	for _, m := range a.machines {
		a.mu.Lock()
		if m.process != nil {
			asked := a.f.wechat.Now()
			status, token := a.get(m.process, "/v1/tokens/"+appID)
			if status != http.StatusOK || !a.f.wechat.Accepts(token, asked) && !a.f.wechat.Accepts(token, a.f.wechat.Now()) {
				a.f.t.Errorf("%s answers %d, and a token that WeChat does not accept", m.name, status)
			}
			a.asked++
		}
		a.mu.Unlock()
	}
}

// refresh has each refresher replace the token, and waits until every machine
// serves the new one.
func (a *audience) refresh() {
	a.f.t.Helper()
	for _, m := range a.machines {
		if m.process == nil || m.name == "reader" {
			continue
		}
		if status := m.process.post("/v1/tokens/" + appID + "/refresh"); status != http.StatusOK {
			a.f.t.Errorf("a refresh by %s = %d", m.name, status)
		}
		a.forced++
		for _, other := range a.machines {
			if other.process == nil {
				continue
			}
			a.f.eventually(5*time.Second, other.name+" to have what "+m.name+" wrote", func() bool {
				_, token := a.get(other.process, "/v1/tokens/"+appID)
				return token == a.f.lastIssued()
			})
		}
	}
}

// rolls takes one step on a machine after the other, in an order that differs from
// round to round, and has the token replaced by each refresher after each.
func (a *audience) rolls(round int, step func(m *machine)) {
	a.f.t.Helper()
	a.refresh()
	for i := range a.machines {
		step(a.machines[(i+round)%len(a.machines)])
		a.refresh()
	}
}

func TestSealingIsSwitchedOnRotatedAndSwitchedOffWithAValidTokenEverywhere(t *testing.T) {
	a := newAudience(t)
	began := time.Now()
	keyA, keyB := a.f.run("keygen").token(), a.f.run("keygen").token()
	kid := func(key string) string { name, _, _ := strings.Cut(key, ":"); return name }
	isSealed := func() bool { return strings.HasPrefix(a.f.stored(), "eyJ") }
	restart := func(seal string) func(*machine) {
		return func(m *machine) { a.stop(m); a.start(m, seal) }
	}
	reread := func(writes, reads string, lines ...string) func(*machine) {
		return func(m *machine) {
			writeFile(t, m.keys, strings.Join(lines, "\n")+"\n")
			m.process.signal(syscall.SIGHUP)
			a.f.eventually(5*time.Second, m.name+" to read its keys again", func() bool {
				return strings.Contains(m.process.stderr.String(), fmt.Sprintf("seal keys read again: writes with %s, reads %s\"", writes, reads))
			})
		}
	}
	for _, m := range a.machines {
		writeFile(t, m.keys, keyA+"\n")
	}
	for round, step := range []struct {
		name  string
		take  func(*machine)
		seals bool // after it
	}{
		{"seal: allow", restart("allow"), false},
		{"seal: prefer", restart("prefer"), true},
		{"seal: require", restart("require"), true},
		{"the new key at the bottom", reread(kid(keyA), kid(keyA)+", "+kid(keyB), keyA, keyB), true},
		{"the new key on top", reread(kid(keyB), kid(keyB)+", "+kid(keyA), keyB, keyA), true},
		{"the new key alone", reread(kid(keyB), kid(keyB), keyB), true},
		{"back to seal: prefer", restart("prefer"), true},
		{"back to seal: allow", restart("allow"), false},
		{"no seal", restart(""), false},
	} {
		a.rolls(round, step.take)
		if isSealed() != step.seals {
			t.Errorf("after %s the token is stored sealed: %v", step.name, isSealed())
		}
	}
	// No process replaced a token because it could not be opened.
	if n := a.f.calls(); n != a.forced+1 {
		t.Errorf("%d calls, want the first one and %d that were forced", n, a.forced)
	}
	for _, m := range a.machines {
		a.stop(m)
	}
	if a.asked < 100 {
		t.Errorf("only %d questions were asked", a.asked)
	}
	t.Logf("%d questions in %v, %d refreshes", a.asked, time.Since(began).Round(time.Second), a.forced)
}
