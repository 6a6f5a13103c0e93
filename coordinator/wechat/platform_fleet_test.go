package wechat

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// platformAccount is the name of the platform's account.
const platformAccount = "platform"

// platformFleet is two processes of a platform on one store, and WeChat, on virtual time.
type platformFleet struct {
	*testing.T
	*wechattest.Server
	store     *memstore.Store
	copy      coordinator.GrantCopy // of those that are started from then on
	processes []*platformProcess
	next      int // which of them gets the next push
	key       string
	previous  string
	log       strings.Builder
	logged    sync.Mutex
}

type platformProcess struct {
	zk       *coordinator.Coordinator
	platform *Platform
	stop     func()
}

func inPlatformFleet(t *testing.T, change func(*PlatformConfig), test func(f *platformFleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &platformFleet{T: t, store: memstore.New(), key: pushKey}
		f.Server = wechattest.New(wechattest.Config{Seed: 1, History: 1 << 20, Components: []wechattest.Component{
			{AppID: platformID, Secret: platformSecret, Token: pushToken, EncodingAESKey: pushKey, Handler: f},
		}})
		defer f.Server.Close()
		for _, name := range []string{"a", "b"} {
			f.start(name, change)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var pushing sync.WaitGroup
		pushing.Go(func() { f.RunPushes(ctx, nil) })
		test(f)
		cancel()
		pushing.Wait()
		for _, p := range f.processes {
			p.stop()
		}
	})
}

// Write makes a platformFleet the place of the log.
func (f *platformFleet) Write(b []byte) (int, error) {
	f.logged.Lock()
	defer f.logged.Unlock()
	return f.log.Write(b)
}

func (f *platformFleet) start(name string, change func(*PlatformConfig)) {
	f.Helper()
	component, err := ComponentConfig{AppID: platformID, Secret: platformSecret, Transport: f.Transport()}.Source()
	if err != nil {
		f.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(f, nil)).With("process", name)
	zk, err := coordinator.New(coordinator.Config{
		Store: f.store.Instance(name), Copy: f.copy, Logger: logger, ProbeEvery: time.Minute, PollEvery: 4 * time.Minute, // a day of 2,000 accounts in seconds
		Accounts: []coordinator.AccountConfig{{Name: platformAccount, Source: component}},
	})
	if err != nil {
		f.Fatal(err)
	}
	account, _ := zk.Account(platformAccount)
	c := PlatformConfig{
		Account: account, Coordinator: zk, Component: component, Token: pushToken, EncodingAESKey: f.key, PreviousKey: f.previous, Logger: logger,
	}
	if change != nil {
		change(&c)
	}
	p, err := c.Platform()
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = zk.Run(ctx) })
	running.Go(func() { p.Run(ctx) })
	f.logged.Lock()
	defer f.logged.Unlock()
	f.processes = append(f.processes, &platformProcess{zk, p, func() { cancel(); running.Wait() }})
}

// ServeHTTP takes the pushes, each by another process, as behind a load balancer.
func (f *platformFleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	f.logged.Lock()
	p := f.processes[f.next%len(f.processes)]
	f.next++
	f.logged.Unlock()
	if err == nil {
		var answer string
		ctx, cancel := context.WithTimeout(r.Context(), 4*time.Second)
		defer cancel()
		if answer, err = p.platform.Callback(ctx, r.Method, r.URL.Query(), body); err == nil {
			_, _ = io.WriteString(w, answer)
			return
		}
	}
	_, _ = fmt.Fprintf(f, "callback: %v\n", err)
	w.WriteHeader(http.StatusServiceUnavailable)
}

func (f *platformFleet) authorize(appID string) {
	f.Helper()
	if _, err := f.Authorize(platformID, appID); err != nil {
		f.Fatal(err)
	}
}

func (f *platformFleet) unauthorize(appID string) {
	f.Helper()
	if err := f.Unauthorize(platformID, appID); err != nil {
		f.Fatal(err)
	}
}

// dead returns what each process lacks: for an authorizer of WeChat's a token that it
// accepts now, and no account for another.
func (f *platformFleet) dead() []string {
	var wrong []string
	now := f.Now()
	for i, p := range f.processes {
		authorized := 0
		for _, a := range f.Authorizers(platformID) {
			account, ok := p.zk.Account(a.AppID)
			if !a.Authorized {
				if ok {
					wrong = append(wrong, fmt.Sprintf("process %d has %s, which has gone", i, a.AppID))
				}
				continue
			}
			authorized++
			if !ok {
				wrong = append(wrong, fmt.Sprintf("process %d has no account %s", i, a.AppID))
				continue
			}
			if s, served := account.Peek(); !served || !f.Accepts(s.Token.Reveal(), now) {
				wrong = append(wrong, fmt.Sprintf("process %d has no live token of %s: %+v", i, a.AppID, account.Status()))
			}
		}
		if n := len(p.zk.Accounts()) - 1; n != authorized { // one is the platform's
			wrong = append(wrong, fmt.Sprintf("process %d has the accounts of %d authorizers instead of %d", i, n, authorized))
		}
	}
	return wrong
}

// alive checks dead.
func (f *platformFleet) alive(when string) {
	f.Helper()
	if wrong := f.dead(); len(wrong) > 0 {
		f.Errorf("%s: %d wrong, first %s\n%s", when, len(wrong), wrong[0], f.tail())
	}
}

// said reports whether the log has a line with all these texts.
func (f *platformFleet) said(texts ...string) bool {
	f.logged.Lock()
	defer f.logged.Unlock()
	for line := range strings.Lines(f.log.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

// tail is the end of the log.
func (f *platformFleet) tail() string {
	f.logged.Lock()
	defer f.logged.Unlock()
	lines := strings.Split(f.log.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// settles waits until every process has a live token of every authorizer, and no others.
func (f *platformFleet) settles(after string, within time.Duration) {
	f.Helper()
	for deadline := time.Now().Add(within); len(f.dead()) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Second)
	}
	f.alive("after " + after)
}

// passes lets time pass, in which every authorizer always has a live token.
func (f *platformFleet) passes(d time.Duration) {
	f.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(10*time.Minute, time.Until(end))) {
		if wrong := f.dead(); len(wrong) > 0 {
			f.Errorf("at %v: %d wrong, first %s\n%s", f.Now(), len(wrong), wrong[0], f.tail())
			return
		}
	}
}
