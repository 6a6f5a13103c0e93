package wechattest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// receiver is a platform's URL.
type receiver struct {
	*testing.T
	config msgcrypt.Config

	mu     sync.Mutex // guards what follows
	answer string     // "": what is right
	wait   time.Duration
	got    []msgcrypt.Fields
	errors []error
}

// set changes the receiver.
func (r *receiver) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{T: t, config: msgcrypt.Config{
		Token: platformToken, EncodingAESKey: secondKey, PreviousKey: firstKey, Receivers: []string{platformID},
	}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var wait time.Duration
	r.set(func() { wait = r.wait })
	time.Sleep(wait)
	body, _ := io.ReadAll(req.Body)
	codec, err := r.config.Codec()
	if err != nil {
		r.Error(err)
	}
	var fields msgcrypt.Fields
	p, _, err := msgcrypt.ParsePush(req.URL.Query(), body)
	if err == nil {
		var m msgcrypt.Message
		if m, err = codec.Open(p); err == nil {
			fields, err = msgcrypt.ParseXML(m.Body)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.errors = append(r.errors, err)
		w.WriteHeader(http.StatusForbidden)
		return
	case r.answer != "":
		_, _ = io.WriteString(w, r.answer)
		return
	}
	r.got = append(r.got, fields)
	_, _ = io.WriteString(w, "success")
}

// met returns the errors of pushes.
func (r *receiver) met() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

// events returns what arrived, each as its InfoType and its account.
func (r *receiver) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, f := range r.got {
		out = append(out, strings.TrimSuffix(f["InfoType"]+" "+f["AuthorizerAppid"], " "))
	}
	return out
}

// pushing runs do while the server pushes to a receiver in process.
func pushing(t *testing.T, do func(*platform, *receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, r := newPlatform(t), newReceiver(t)
		if err := p.SetURL(platformID, "", r); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.RunPushes(ctx, nil) })
		do(p, r)
		cancel()
		running.Wait()
	})
}

func TestVerifyTicketsArePushedEveryTenMinutesUntilTheyStop(t *testing.T) {
	pushing(t, func(p *platform, r *receiver) {
		time.Sleep(time.Hour + time.Second)
		if got := r.events(); len(got) != 7 || got[0] != VerifyTicket {
			t.Fatalf("in an hour: %q", got)
		}
		start := func() posted { return p.post(pathStartPush, map[string]any{"component_secret": platformSecret}) }
		if got := start(); got.Code != 0 || got.Message != "in a normal state" {
			t.Errorf("api_start_push_ticket = %+v", got)
		}
		if err := p.StopPushes(platformID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := r.events(); len(got) != 7 {
			t.Fatalf("after they stopped: %q", got)
		}
		p.want("the other name of the secret", p.post(pathStartPush, map[string]any{"component_appsecret": platformSecret}).Code, codeNoSecret)
		if got := start(); got.Code != 0 || got.Message != "ok" {
			t.Errorf("api_start_push_ticket = %+v", got)
		}
		synctest.Wait()
		if got := r.events(); len(got) != 8 {
			t.Errorf("after api_start_push_ticket: %q", got)
		}
	})
}

func TestAPushIsRepeatedUntilItIsAnswered(t *testing.T) {
	pushing(t, func(p *platform, r *receiver) {
		time.Sleep(time.Minute) // after the first ticket
		r.set(func() { r.answer = "no" })
		p.authorize("wxa")
		time.Sleep(6 * time.Second)
		r.set(func() { r.answer = "" })
		time.Sleep(time.Minute)
		last := p.Pushes()[len(p.Pushes())-1]
		if last.Attempts != 3 || last.Lost || last.Answered.IsZero() {
			t.Errorf("answered wrongly twice: %+v", last)
		}
		r.set(func() { r.wait = 6 * time.Second })
		p.authorize("wxb")
		time.Sleep(time.Minute)
		last = p.Pushes()[len(p.Pushes())-1]
		if last.Attempts != 4 || !last.Lost || !last.Answered.IsZero() {
			t.Errorf("answered too late: %+v", last)
		}
		r.set(func() { r.wait = 0 })
	})
}

func TestFaultsOfPushes(t *testing.T) {
	for _, tt := range []struct {
		fault PushFault
		want  []string
		err   error
	}{
		{PushFault{Kind: PushDrop, Times: 1}, []string{"unauthorized wxa", "authorized wxa"}, nil},
		{PushFault{Kind: PushDuplicate, Times: 1}, []string{"authorized wxa", "authorized wxa", "unauthorized wxa"}, nil},
		{PushFault{Kind: PushDelay, Delay: Seconds(time.Minute), InfoType: "authorized"}, []string{"unauthorized wxa", "authorized wxa"}, nil},
		{PushFault{Kind: PushReorder, Times: 1}, []string{"unauthorized wxa", "authorized wxa"}, nil},
		{PushFault{Kind: PushSignature, Times: 1}, []string{"unauthorized wxa", "authorized wxa"}, msgcrypt.ErrSignature},
		{PushFault{Kind: PushReceiver, Skip: 1, Times: 1}, []string{"authorized wxa", "unauthorized wxa"}, msgcrypt.ErrReceiver},
		{PushFault{Kind: PushPreviousKey, Component: platformID}, []string{"authorized wxa", "unauthorized wxa"}, nil},
		{PushFault{Kind: PushDrop, Component: "wxother"}, []string{"authorized wxa", "unauthorized wxa"}, nil},
	} {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			pushing(t, func(p *platform, r *receiver) {
				if err := p.ChangeKey(platformID, secondKey); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // after the first ticket
				r.set(func() { r.got = nil })
				if _, err := p.InjectPush(tt.fault); err != nil {
					t.Fatal(err)
				}
				p.authorize("wxa")
				synctest.Wait()
				if err := p.Unauthorize(platformID, "wxa"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if got := r.events(); !slices.Equal(got, tt.want) {
					t.Errorf("arrived: %q, want %q", got, tt.want)
				}
				if met := r.met(); tt.err != nil && !slices.Equal(met, []error{tt.err}) {
					t.Errorf("errors: %v, want %v", met, tt.err)
				}
				p.ClearPush()
			})
		})
	}
}

func TestPushesGoOverHTTPAndTwoComponentsMayHaveOneURL(t *testing.T) {
	p, r := newPlatform(t), newReceiver(t)
	server := httptest.NewServer(r)
	defer server.Close()
	other := testComponent()
	other.AppID, other.URL = "wxplatform00000002", server.URL+"/callback?x=1"
	if err := p.AddComponent(other); err != nil {
		t.Fatal(err)
	}
	if err := p.SetURL(platformID, server.URL+"/callback", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.RunPushes(ctx, nil) })
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if pushes := p.Pushes(); len(pushes) == 2 && pushes[0].Attempts+pushes[1].Attempts > 1 {
			break
		}
	}
	cancel()
	running.Wait()
	if got, met := r.events(), r.met(); len(got) != 1 || len(met) == 0 || !errors.Is(met[0], msgcrypt.ErrReceiver) {
		t.Errorf("arrived: %q, errors: %v", got, met)
	}
}
