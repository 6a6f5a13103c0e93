package wechat

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// restart replaces all processes by two with another configuration.
func (f *platformFleet) restart(change func(*PlatformConfig)) {
	f.Helper()
	f.logged.Lock()
	before := f.processes
	f.logged.Unlock()
	for _, p := range before {
		p.stop()
	}
	f.logged.Lock()
	f.processes = nil
	f.logged.Unlock()
	f.start("c", change)
	f.start("d", change)
}

// saidTimes counts the lines of the log with a text.
func (f *platformFleet) saidTimes(text string) (n int) {
	f.logged.Lock()
	defer f.logged.Unlock()
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestAnAuthorizerThatIsNamedLaterHasAToken(t *testing.T) {
	some := func(c *PlatformConfig) { c.Authorizers = []string{"wxb"} }
	inPlatformFleet(t, some, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.authorize("wxa")
		f.authorize("wxb")
		time.Sleep(25 * time.Hour) // the code of wxa has ended, and the list was compared
		if n := total(f.DailyCalls(platformID, "/cgi-bin/component/api_query_auth")); n != 2 {
			f.Errorf("%d calls of api_query_auth, want one for each authorizer", n)
		}
		if f.said(unreadable) {
			f.Errorf("an authorizer that was left out is unreadable:\n%s", f.tail())
		}
		f.restart(nil)
		time.Sleep(time.Minute)
		f.alive("once all are named")
	})
}

func TestTheLostCodeOfAnAuthorizerThatIsNoAccountIsNotSaid(t *testing.T) {
	none := func(c *PlatformConfig) { c.Authorizers = []string{} }
	inPlatformFleet(t, none, func(f *platformFleet) {
		time.Sleep(time.Minute)
		if _, err := f.InjectPush(wechattest.PushFault{Kind: wechattest.PushDrop, InfoType: "authorized"}); err != nil {
			f.Fatal(err)
		}
		f.authorize("wxa")
		time.Sleep(25 * time.Hour)
		if f.said(unreadable) {
			f.Errorf("an authorizer that was left out is unreadable:\n%s", f.tail())
		}
		f.restart(nil)
		time.Sleep(2 * time.Minute)
		if !f.said(unreadable, "authorizer=wxa") {
			f.Errorf("it is not said of one that is to be an account:\n%s", f.tail())
		}
	})
}

func TestAnAuthorizerWhoseNameIsTakenIsSaidOnceAndNotLost(t *testing.T) {
	taken := func(c *PlatformConfig) {
		fixed := coordinator.SourceFunc(func(context.Context, coordinator.FetchRequest) (coordinator.FetchResult, error) {
			return coordinator.FetchResult{Token: coordinator.NewToken("its own"), Lifetime: 2 * time.Hour}, nil
		})
		if _, err := c.Coordinator.Add(coordinator.AccountConfig{Name: "wxa", Source: fixed}); err != nil {
			t.Error(err)
		}
	}
	inPlatformFleet(t, taken, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.authorize("wxa")
		time.Sleep(2 * time.Hour)
		if n := f.saidTimes("an authorizer cannot become an account"); n != len(f.processes) {
			f.Errorf("it is said %d times, want once in each process:\n%s", n, f.tail())
		}
		f.restart(nil)
		time.Sleep(3 * time.Hour) // the token of the other account has ended
		f.alive("once the name is free")
	})
}

func TestACodeThatWeChatDoesNotTakeIsGivenUp(t *testing.T) {
	none := func(c *PlatformConfig) { c.Authorizers = []string{} }
	inPlatformFleet(t, none, func(f *platformFleet) {
		time.Sleep(2 * time.Minute)
		if _, err := f.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Path: "/cgi-bin/component/api_query_auth", Code: codeOldAuthCode}); err != nil {
			f.Fatal(err)
		}
		f.authorize("wxa")
		time.Sleep(12 * time.Hour)
		if n := f.calls("/cgi-bin/component/api_query_auth"); n > 4 { // until each process has looked in the list
			f.Errorf("%d calls of api_query_auth\n%s", n, f.tail())
		}
	})
}

func (f *platformFleet) calls(path string) (n int) {
	for _, c := range f.Calls() {
		if c.Path == path {
			n++
		}
	}
	return n
}

func TestEventsThatCameWhileTheStoreWasAwayAreStoredLater(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.authorize("wxb")
		time.Sleep(time.Minute)
		f.store.SetDown(true)
		f.authorize("wxa")
		f.unauthorize("wxb")
		time.Sleep(10 * time.Minute) // WeChat has given up
		f.store.SetDown(false)
		time.Sleep(2 * time.Minute)
		f.alive("after the outage")
	})
}

func TestAnAuthorizationIsPutInByItsCode(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(2 * time.Minute)
		if _, err := f.InjectPush(wechattest.PushFault{Kind: wechattest.PushDelay, Delay: wechattest.Seconds(time.Minute), InfoType: "authorized"}); err != nil {
			f.Fatal(err)
		}
		a, err := f.Authorize(platformID, "wxa")
		if err != nil {
			f.Fatal(err)
		}
		if err := f.processes[0].platform.TakeAuthCode(f.Context(), a.Code); err != nil {
			f.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		f.alive("before the event")
		time.Sleep(time.Minute)
		f.alive("after the event")
		if n := f.calls("/cgi-bin/component/api_query_auth"); n != 1 {
			f.Errorf("%d calls of api_query_auth: the late event has replaced what the code brought", n)
		}
		if err := f.processes[1].platform.TakeAuthCode(f.Context(), a.Code); err != nil { // the page hands it on again
			f.Errorf("the code again: %v", err)
		}
		f.unauthorize("wxa")
		time.Sleep(2 * time.Minute)
		f.alive("after the end")
	})
}

func TestACodeThatCannotBeExchangedIsAnError(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		p := f.processes[0].platform
		if err := p.TakeAuthCode(f.Context(), "queryauthcode@@@x"); err == nil {
			f.Error("a code was taken without a component_access_token")
		}
		time.Sleep(time.Minute)
		if err := f.SetWhitelist(platformID, []string{"10.0.0.1"}); err != nil {
			f.Fatal(err)
		}
		if err := p.TakeAuthCode(f.Context(), "queryauthcode@@@x"); err == nil || strings.Contains(err.Error(), "@@@") {
			f.Errorf("TakeAuthCode() = %v", err)
		}
	})
}

func TestAListThatWeChatRefusesIsAskedForEveryFiveMinutes(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(2 * time.Minute)
		const list = "/cgi-bin/component/api_get_authorizer_list"
		if _, err := f.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Path: list, Code: codeNotRegistered}); err != nil {
			f.Fatal(err)
		}
		before := f.calls(list)
		for _, p := range f.processes {
			p.platform.list.want()
		}
		time.Sleep(time.Hour)
		if n := f.calls(list) - before; n < 20 || n > 26 { // two processes, every five minutes
			f.Errorf("%d calls in an hour", n)
		}
	})
}
