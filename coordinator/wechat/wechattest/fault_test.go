package wechattest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestFaultsStrikeWhenTheyShould(t *testing.T) {
	t.Run("skip and times", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Skip: 1, Times: 2}); err != nil {
			t.Fatal(err)
		}
		c := in(t, s)
		var codes []int
		for range 4 {
			codes = append(codes, c.token().Code)
		}
		if fmt.Sprint(codes) != "[0 -1 -1 0]" {
			t.Errorf("codes %v", codes)
		}
	})
	t.Run("only on their path, account and host", func(t *testing.T) {
		for _, f := range []wechattest.Fault{{Path: "/cgi-bin/stable_token"}, {AppID: "wxother"}, {Host: "api2.weixin.qq.com"}, {Path: "/cgi-bin/user/get"}} {
			s := wechattest.New(wechattest.Config{})
			f.Kind, f.Code = wechattest.FaultErrcode, -1
			if _, err := s.Inject(f); err != nil {
				t.Fatal(err)
			}
			if a := in(t, s).token(); a.Code != 0 {
				t.Errorf("%+v struck", f)
			}
		}
	})
	t.Run("on the account whose token a call carries", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		token := c.token().Token
		if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40001, Path: "*", AppID: appID}); err != nil {
			t.Fatal(err)
		}
		if code := c.code(token); code != 40001 {
			t.Errorf("code %d", code)
		}
	})
	t.Run("by their rate", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{Seed: 1})
		id, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Rate: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		c := in(t, s)
		struck := 0
		for range 200 {
			struck += -c.token().Code
		}
		if struck < 70 || struck > 130 {
			t.Errorf("struck %d of 200", struck)
		}
		s.Clear(id)
		if a := c.token(); a.Code != 0 {
			t.Errorf("cleared: %+v", a)
		}
	})
	t.Run("after the token was issued", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		for n, kind := range []wechattest.FaultKind{wechattest.FaultReset, wechattest.FaultHTML, wechattest.FaultTruncated} {
			for _, phase := range []wechattest.Phase{wechattest.Before, wechattest.After} {
				s.Clear()
				if _, err := s.Inject(wechattest.Fault{Kind: kind, Phase: phase}); err != nil {
					t.Fatal(err)
				}
				resp, err := s.Client().Get(base + "/cgi-bin/token?" + good(secret))
				if err == nil {
					_ = resp.Body.Close()
				}
				last, _ := s.LastIssued(appID)
				if phase == wechattest.After && (last.Seq != n+1 || last.Delivered) {
					t.Errorf("%s: %+v", kind, last)
				}
				if phase == wechattest.Before && last.Seq != n {
					t.Errorf("%s before the call issued a token", kind)
				}
			}
		}
	})
	inBubble(t, "though the caller has given up", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		defer s.Close()
		if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: wechattest.Seconds(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/cgi-bin/token?"+good(secret), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Client().Do(req); !errors.Is(err, context.DeadlineExceeded) { //nolint:bodyclose // there is none
			t.Errorf("err = %v", err)
		}
		if _, ok := s.LastIssued(appID); ok {
			t.Error("issued too early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if last, ok := s.LastIssued(appID); !ok || last.Delivered {
			t.Errorf("the late token: %+v, %v", last, ok)
		}
	})
	t.Run("not when they make no sense", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		for _, f := range []wechattest.Fault{
			{}, {Kind: "nonsense"}, {Kind: wechattest.FaultErrcode}, {Kind: wechattest.FaultSlow}, {Kind: wechattest.FaultStatus},
			{Kind: wechattest.FaultDial, Phase: wechattest.After}, {Kind: wechattest.FaultHTML, Phase: "while"}, {Kind: wechattest.FaultHTML, Rate: 2},
			{Kind: wechattest.FaultHTML, Times: -1}, {Kind: wechattest.FaultHTML, Status: 99},
		} {
			if _, err := s.Inject(f); err == nil {
				t.Errorf("%+v was taken", f)
			}
		}
	})
}

func TestKnobsThatStrikeAtRandom(t *testing.T) {
	s := tuned(func(k *wechattest.Knobs) { k.False40001Rate = 1 })
	c := in(t, s)
	if code := c.code(c.token().Token); code != 40001 {
		t.Errorf("false 40001: %d", code)
	}
	c = in(t, tuned(func(k *wechattest.Knobs) { k.MinusOneRate = 1 }))
	if a := c.token(); a.Code != -1 {
		t.Errorf("-1: %+v", a)
	}
	synctest.Test(t, func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.PropagationDelay = time.Second; k.Latency = time.Minute }))
		begin := time.Now()
		_ = c.token()
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("took %v", took)
		}
		c = in(t, tuned(func(k *wechattest.Knobs) { k.PropagationDelay = time.Second }))
		token := c.token().Token
		if code := c.code(token); code != 40001 {
			t.Errorf("a token that has not spread: %d", code)
		}
		time.Sleep(time.Second)
		if code := c.code(token); code != 0 {
			t.Errorf("a second later: %d", code)
		}
	})
}

func TestHostsShareOneState(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	s.TakeDown("api.weixin.qq.com")
	if _, err := s.Client().Get(base + "/cgi-bin/token?" + good(secret)); err == nil || !strings.Contains(err.Error(), "refused") { //nolint:bodyclose // there is none
		t.Errorf("err = %v", err)
	}
	c := caller{t, s.Client(), "https://api2.weixin.qq.com"}
	token := c.token().Token
	s.BringUp("api.weixin.qq.com")
	if code := in(t, s).code(token); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	defer s.Close()
	if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultReset, Rate: 0.2}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				resp, err := s.Client().Get(base + "/cgi-bin/token?" + good(secret))
				if err == nil {
					_ = resp.Body.Close()
				}
				s.Issued()
				s.Advance(time.Millisecond)
			}
		})
	}
	group.Wait()
	for n, i := range s.Issued() {
		if i.Seq != n+1 {
			t.Fatalf("token %d has the number %d", n+1, i.Seq)
		}
	}
	if n := len(s.Calls()); n != 400 {
		t.Errorf("%d calls", n)
	}
}
