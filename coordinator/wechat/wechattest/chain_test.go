package wechattest_test

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestClassicTokensDieAsWeChatsDo(t *testing.T) {
	inBubble(t, "a superseded one after 5 minutes", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first := c.token()
		second := c.token()
		if first.Token == second.Token || second.ExpiresIn != 7200 {
			t.Fatal("a call does not mint")
		}
		time.Sleep(5*time.Minute - time.Millisecond)
		if code := c.code(first.Token); code != 0 {
			t.Errorf("within the overlap: %d", code)
		}
		time.Sleep(time.Millisecond)
		if code := c.code(first.Token); code != 40001 {
			t.Errorf("after the overlap: %d, want 40001", code)
		}
		if code := c.code(second.Token); code != 0 {
			t.Errorf("the current one: %d", code)
		}
	})
	inBubble(t, "the one before that at once", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first, second, third := c.token(), c.token(), c.token()
		if a, b, d := c.code(first.Token), c.code(second.Token), c.code(third.Token); a != 40001 || b != 0 || d != 0 {
			t.Errorf("codes %d, %d, %d, want 40001, 0, 0", a, b, d)
		}
	})
	inBubble(t, "an old one by its age with 42001", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first := c.token()
		time.Sleep(2*time.Hour - time.Millisecond)
		if code := c.code(first.Token); code != 0 {
			t.Errorf("just before its end: %d", code)
		}
		time.Sleep(time.Millisecond)
		if code := c.code(first.Token); code != 42001 {
			t.Errorf("after its end: %d, want 42001", code)
		}
	})
	inBubble(t, "as the knobs say", func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.GraceGenerations = wechattest.AllGenerations }))
		first := c.token()
		c.token()
		c.token()
		if code := c.code(first.Token); code != 0 {
			t.Errorf("all generations: %d", code)
		}
		c = in(t, tuned(func(k *wechattest.Knobs) { k.GraceGenerations = 0 }))
		first = c.token()
		c.token()
		if code := c.code(first.Token); code != 40001 {
			t.Errorf("no generation: %d", code)
		}
		s := tuned(func(k *wechattest.Knobs) { k.DeadOrder = wechattest.SupersededFirst })
		c = in(t, s)
		first = c.token()
		c.token()
		time.Sleep(3 * time.Hour)
		if code := c.code(first.Token); code != 40001 {
			t.Errorf("superseded first: %d", code)
		}
	})
	t.Run("unknown ones and none", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		if a, b := c.code("90_nonsense"), c.code(""); a != 40001 || b != 41001 {
			t.Errorf("codes %d, %d, want 40001, 41001", a, b)
		}
	})
	t.Run("killed ones", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		first := c.token()
		killed, ok := s.KillEarly(appID, wechattest.ClassicChain)
		if !ok || killed.Token != first.Token || c.code(first.Token) != 40001 {
			t.Errorf("killed %v, code %d", ok, c.code(first.Token))
		}
		if _, ok := s.KillEarly(appID, wechattest.ClassicChain); ok {
			t.Error("killed twice")
		}
	})
}

func TestStableTokensFollowTheirRules(t *testing.T) {
	inBubble(t, "the same until 5 minutes are left", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		first := c.stable("false")
		time.Sleep(6899 * time.Second)
		if again := c.stable("false"); again.Token != first.Token || again.ExpiresIn != 301 {
			t.Errorf("with 301 s left: same %v, expires_in %d", again.Token == first.Token, again.ExpiresIn)
		}
		time.Sleep(time.Second)
		second := c.stable("false")
		if second.Token == first.Token || second.ExpiresIn != 7200 {
			t.Errorf("with 300 s left: same %v, expires_in %d", second.Token == first.Token, second.ExpiresIn)
		}
		if code := c.code(first.Token); code != 0 {
			t.Errorf("the old one: %d", code)
		}
		time.Sleep(300 * time.Second)
		if code := c.code(first.Token); code != 42001 {
			t.Errorf("the old one, 5 minutes later: %d", code)
		}
	})
	inBubble(t, "forced every 30 s at most", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		leaked := c.stable("false")
		first := c.stable("true")
		if first.Token == leaked.Token {
			t.Error("forcing does not mint")
		}
		time.Sleep(10 * time.Second)
		if again := c.stable("true"); again.Token != first.Token {
			t.Error("forced within 30 s, it minted")
		}
		time.Sleep(20 * time.Second)
		if again := c.stable("true"); again.Token == first.Token {
			t.Error("forced after 30 s, it did not mint")
		}
		// WeChat's leak drill: two forced refreshes end a leaked token at once.
		if code := c.code(leaked.Token); code != 40001 {
			t.Errorf("the leaked token: %d", code)
		}
	})
	inBubble(t, "forced 20 times a day at most", func(t *testing.T) {
		s := wechattest.New(wechattest.Config{})
		c := in(t, s)
		for n := range 20 {
			if a := c.stable("true"); a.Code != 0 {
				t.Fatalf("forced refresh %d: %d", n+1, a.Code)
			}
			time.Sleep(31 * time.Second)
		}
		if a := c.stable("true"); a.Code != 45009 {
			t.Errorf("the 21st: %+v", a)
		}
		if a := c.stable("false"); a.Code != 0 {
			t.Errorf("the normal mode: %+v", a)
		}
		if err := s.Tune(func(k *wechattest.Knobs) { k.ForceQuotaBlocksNormal = true }); err != nil {
			t.Fatal(err)
		}
		if a := c.stable("false"); a.Code != 45009 {
			t.Errorf("the normal mode, blocked: %+v", a)
		}
		time.Sleep(24 * time.Hour)
		if a := c.stable("true"); a.Code != 0 {
			t.Errorf("the next day: %+v", a)
		}
	})
	t.Run("apart from the classic ones", func(t *testing.T) {
		c := in(t, wechattest.New(wechattest.Config{}))
		stable := c.stable("false")
		for range 3 {
			c.token()
		}
		if code := c.code(stable.Token); code != 0 {
			t.Errorf("after three classic tokens: %d", code)
		}
	})
	inBubble(t, "also with a short life", func(t *testing.T) {
		c := in(t, tuned(func(k *wechattest.Knobs) { k.TokenTTL = time.Minute }))
		first := c.stable("false")
		time.Sleep(29 * time.Second)
		if again := c.stable("false"); again.Token != first.Token {
			t.Error("minted in the first half of its life")
		}
	})
}
