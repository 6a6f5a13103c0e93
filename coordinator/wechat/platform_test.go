package wechat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// What the log says.
const (
	unreadable = "WeChat lists an authorizer without its refresh token"
	pushesLate = "no verify ticket has come for 20 minutes"
	pushesBack = "verify tickets are pushed again"
)

func TestAuthorizersAppearChangeAndGoByEvents(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.authorize("wxa")
		f.authorize("wxb")
		time.Sleep(time.Minute)
		f.alive("after two authorizations")
		first, _ := f.processes[0].zk.Token(f.Context(), "wxa")
		f.authorize("wxa") // again, which ends its tokens
		time.Sleep(10 * time.Second)
		f.alive("after another one of the same account")
		if again, _ := f.processes[0].zk.Token(f.Context(), "wxa"); again.Equal(first) {
			f.Error("the token is the one before")
		}
		f.unauthorize("wxb")
		time.Sleep(time.Minute)
		f.alive("after the end of one")
		f.authorize("wxb")
		time.Sleep(time.Minute)
		f.alive("after it has come back")
		time.Sleep(5 * time.Hour)
		f.alive("five hours later")
		if n := f.DailyCalls(platformID, "/cgi-bin/component/api_query_auth"); total(n) != 4 {
			f.Errorf("%v calls of api_query_auth, want 4", n)
		}
	})
}

func TestEventsInAnyOrderAndTwiceEndTheSame(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		for _, fault := range []wechattest.PushFault{
			{Kind: wechattest.PushDelay, Delay: wechattest.Seconds(time.Minute), InfoType: "unauthorized"},
			{Kind: wechattest.PushDuplicate, InfoType: "authorized"},
		} {
			if _, err := f.InjectPush(fault); err != nil {
				f.Fatal(err)
			}
		}
		f.authorize("wxa")
		f.authorize("wxb")
		time.Sleep(10 * time.Second)
		f.unauthorize("wxa") // arrives after
		time.Sleep(10 * time.Second)
		f.authorize("wxa")
		time.Sleep(3 * time.Minute)
		f.alive("after an old end")
		f.ClearPush()
		if _, err := f.InjectPush(wechattest.PushFault{Kind: wechattest.PushReorder, InfoType: "authorized"}); err != nil {
			f.Fatal(err)
		}
		f.authorize("wxc") // arrives after
		time.Sleep(10 * time.Second)
		f.unauthorize("wxc")
		time.Sleep(time.Minute)
		f.alive("after an old authorization")
		if f.said("callback: ") {
			f.Errorf("a push was not taken:\n%s", f.tail())
		}
	})
}

// The times of events and of the list are a thousand times what they should be.
func TestTimesOfWeChatsThatCannotBeStopNobody(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		if err := f.Tune(func(k *wechattest.Knobs) { k.EventMilliseconds = true }); err != nil {
			f.Fatal(err)
		}
		time.Sleep(11 * time.Minute) // the next verify ticket
		f.authorize("wxa")
		f.authorize("wxb")
		time.Sleep(time.Minute)
		f.alive("after two authorizations")
		f.unauthorize("wxb")
		time.Sleep(25 * time.Hour) // the list is read
		f.alive("a day later")
		if err := f.Tune(func(k *wechattest.Knobs) { k.EventMilliseconds = false }); err != nil {
			f.Fatal(err)
		}
		f.authorize("wxb")
		f.unauthorize("wxa")
		time.Sleep(time.Minute)
		f.alive("when the times are right again")
	})
}

func TestEventsOfOneSecondAreOrderedAsTheyCome(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		if _, err := f.InjectPush(wechattest.PushFault{Kind: wechattest.PushDuplicate}); err != nil {
			f.Fatal(err)
		}
		for range 3 {
			f.authorize("wxa")
			time.Sleep(100 * time.Millisecond)
		}
		f.authorize("wxb")
		time.Sleep(100 * time.Millisecond)
		f.unauthorize("wxb")
		f.authorize("wxc")
		time.Sleep(100 * time.Millisecond)
		f.unauthorize("wxc")
		time.Sleep(100 * time.Millisecond)
		f.authorize("wxc")
		time.Sleep(time.Minute)
		f.alive("after a second of changes")
	})
}

func TestARepeatedEventIsNoLaterThanItself(t *testing.T) {
	second := time.Unix(1_413_192_605, 0)
	first := eventTime(second, "a", time.Time{})
	for _, tt := range []struct {
		name   string
		at     time.Time
		before time.Time
		later  bool
	}{
		{"the first", first, time.Time{}, true},
		{"the same again", eventTime(second, "a", first), first, false},
		{"another of the second", eventTime(second, "b", first), first, true},
		{"the end in the same second", eventTime(second, "", first), first, true},
		{"the same after another", eventTime(second, "b", eventTime(second, "b", first)), eventTime(second, "b", first), false},
		{"one of the second before", eventTime(second.Add(-time.Second), "c", first), first, false},
		{"one of the second after", eventTime(second.Add(time.Second), "a", first), first, true},
	} {
		if later := tt.at.After(tt.before); later != tt.later || tt.at.Sub(second).Abs() > 2*time.Second {
			t.Errorf("%s: %v after %v = %t, want %t", tt.name, tt.at, tt.before, later, tt.later)
		}
	}
}

func TestAStoreThatLosesEverythingLosesNoAuthorizer(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		for i := range 20 {
			f.authorize(fmt.Sprintf("wx%d", i))
		}
		time.Sleep(time.Minute)
		f.alive("before the loss")
		f.store.Flush()
		for range 60 {
			time.Sleep(time.Minute)
			f.alive("after the loss") // what is held is served on
		}
		// Nothing remembers it: WeChat's next ticket and its list bring everything back.
		for _, p := range f.processes {
			p.stop()
		}
		f.store.Flush()
		f.processes = nil
		f.start("c", nil)
		f.start("d", nil)
		f.settles("the loss of everything", 12*time.Minute)
		f.passes(3 * time.Hour)
		f.unauthorize("wx1")
		time.Sleep(time.Minute)
		f.alive("after an event")
	})
}

func TestOnlyTheNamedAuthorizersBecomeAccounts(t *testing.T) {
	some := func(c *PlatformConfig) { c.Authorizers = []string{"wxb"} }
	inPlatformFleet(t, some, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.authorize("wxa")
		f.authorize("wxb")
		time.Sleep(time.Minute)
		p := f.processes[0]
		if _, ok := p.zk.Account("wxa"); ok {
			f.Error("wxa is an account")
		}
		if _, err := p.zk.Token(f.Context(), "wxb"); err != nil {
			f.Errorf("wxb: %v", err)
		}
		if members, err := p.platform.config.Account.Members(f.Context()); err != nil || len(members) != 2 {
			f.Errorf("Members() = %v, %v: the others must be stored", members, err)
		}
	})
}

// fullCopy is a copy that takes nothing.
type fullCopy struct{}

var errFull = errors.New("the disk is full")

func (fullCopy) Put(context.Context, string, coordinator.Grant) error { return errFull }
func (fullCopy) Get(context.Context, string) (coordinator.Grant, error) {
	return coordinator.Grant{}, nil
}
func (fullCopy) Accounts(context.Context) ([]string, error) { return nil, nil }

func TestAuthorizersDoNotWaitForTheCopy(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		f.copy = fullCopy{}
		f.start("c", nil)
		f.logged.Lock()
		before := f.processes[:2]
		f.processes = f.processes[2:]
		f.logged.Unlock()
		for _, p := range before {
			p.stop()
		}
		time.Sleep(10 * time.Minute) // the next ticket
		f.authorize("wxa")
		f.authorize("wxb")
		time.Sleep(time.Minute)
		f.alive("after two authorizations")
		f.unauthorize("wxb")
		time.Sleep(time.Minute)
		f.alive("after the end of one")
		if !f.said("copy", errFull.Error()) {
			f.Error("nothing is said of the copy")
		}
	})
}

func TestWeChatsListCompletesWhatEventsDidNotTell(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(2 * time.Minute) // the first comparison is over
		for _, name := range []string{"wxa", "wxb"} {
			f.authorize(name)
		}
		time.Sleep(time.Minute)
		if _, err := f.InjectPush(wechattest.PushFault{Kind: wechattest.PushDrop, Rate: 1}); err != nil {
			f.Fatal(err)
		}
		f.unauthorize("wxb")
		lost, err := f.Authorize(platformID, "wxc")
		if err != nil {
			f.Fatal(err)
		}
		f.authorize("wxd") // whose code is lost with the event
		// Another program exchanges the code of wxc.
		platform := f.processes[0].platform.config
		other := &AuthorizerSource{service: &platform.Component.service, platform: platformID, appID: "wxc", list: newAuthorizerList(platformID)}
		s, _ := platform.Account.Peek()
		if _, err := other.Fetch(f.Context(), coordinator.FetchRequest{
			Parent: s.Record, Grant: coordinator.GrantToken{Token: coordinator.NewToken(lost.Code), Form: AuthorizationCode},
		}); err != nil {
			f.Fatal(err)
		}
		time.Sleep(3 * time.Hour) // wxb is refused, which has the list read
		p := f.processes[0]
		if _, ok := p.zk.Account("wxb"); ok {
			f.Errorf("wxb is still there\n%s", f.tail())
		}
		if token, err := p.zk.Token(f.Context(), "wxc"); err != nil || !f.Accepts(token.Reveal(), f.Now()) {
			f.Errorf("wxc: %v\n%s", err, f.tail())
		}
		// One of the processes has found wxb refused, and read the list.
		if !f.said(unreadable, "authorizer=wxd") || f.said(unreadable, "authorizer=wxc") || !f.said(pushesLate, "process=a") || f.said(pushesBack) {
			f.Errorf("the log does not tell:\n%s", f.tail())
		}
		f.ClearPush()
		f.authorize("wxd")
		time.Sleep(20 * time.Minute)
		f.alive("after all")
		if !f.said(pushesBack, "process=a") || !f.said(pushesBack, "process=b") {
			f.Errorf("the log does not tell that pushes are back:\n%s", f.tail())
		}
	})
}

func TestATicketThatWeChatRejectsIsFollowedByTheOneBefore(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		account := f.processes[0].platform.config.Account
		before, _ := account.Peek()
		err := account.Receive(f.Context(), coordinator.Received{
			Token: coordinator.NewToken("ticket@@@unknown"), At: f.Now().Add(time.Hour), Life: VerifyTicketLife,
		})
		if err != nil {
			f.Fatal(err)
		}
		time.Sleep(61 * time.Minute) // its refresh is due
		if after, ok := account.Peek(); !ok || after.Token.Equal(before.Token) || !f.Accepts(after.Token.Reveal(), f.Now()) {
			f.Errorf("no live token: %+v\n%s", account.Status(), f.tail())
		}
	})
}

func TestPushesThatStopAreStarted(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		if err := f.StopPushes(platformID); err != nil {
			f.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		calls := total(f.DailyCalls(platformID, "/cgi-bin/component/api_start_push_ticket"))
		if calls == 0 || calls > len(f.processes) {
			f.Errorf("%d calls of api_start_push_ticket, want one for each process at most", calls)
		}
		if !f.said("WeChat had stopped to push") || !f.said(pushesBack) {
			f.Errorf("the log does not tell:\n%s", f.tail())
		}
	})
}

func TestAnEventIsNotAnsweredBeforeItIsStored(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.store.SetDown(true)
		f.authorize("wxa")
		time.Sleep(8 * time.Second)
		last := f.Pushes()[len(f.Pushes())-1]
		if !last.Answered.IsZero() || last.Attempts == 0 {
			f.Errorf("answered though nothing was stored: %+v", last)
		}
		f.store.SetDown(false)
		time.Sleep(time.Minute)
		f.alive("after the outage")
	})
}

func TestInAStormEventsWaitForTheirTurn(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.store.SetLatency(500 * time.Millisecond)
		for i := range 3 * maxTaking { // twice as many as the processes take at a time
			f.authorize(fmt.Sprintf("wx%d", i))
			f.authorize(fmt.Sprintf("wy%d", i))
		}
		time.Sleep(time.Minute)
		f.store.SetLatency(0)
		f.settles("the storm", 2*time.Minute)
		if !f.said("too many events at once") {
			f.Errorf("no event had to come again, so that the test proves nothing")
		}
	})
}

func TestPushesThatAreNotWeChatsAreRefused(t *testing.T) {
	inPlatformFleet(t, nil, func(f *platformFleet) {
		time.Sleep(time.Minute)
		p := f.processes[0].platform
		now := f.Now()
		seal := func(fields msgcrypt.Fields, names ...string) msgcrypt.Push {
			return p.codec.Seal(fields.XML(names...), now)
		}
		event := msgcrypt.Fields{"AppId": platformID, "CreateTime": fmt.Sprint(now.Unix()), "InfoType": "authorized", "AuthorizerAppid": "wxa", "AuthorizationCode": "c"}
		all := []string{"AppId", "CreateTime", "InfoType", "AuthorizerAppid", "AuthorizationCode"}
		unnamed := maps.Clone(event)
		unnamed["AuthorizerAppid"] = "wx a"
		forged := seal(event, all...)
		forged.Nonce = "another"
		for name, c := range map[string]struct {
			push     msgcrypt.Push
			envelope string
			want     error
		}{
			"a wrong signature":        {forged, platformID, msgcrypt.ErrSignature},
			"another platform's":       {seal(event, all...), "wxplatform00000002", msgcrypt.ErrReceiver},
			"no AppId within":          {seal(event, all[1:]...), platformID, msgcrypt.ErrReceiver},
			"no CreateTime":            {seal(event, "AppId", "InfoType", "AuthorizerAppid", "AuthorizationCode"), platformID, msgcrypt.ErrEvent},
			"no AppID of an account":   {seal(unnamed, all...), platformID, msgcrypt.ErrEvent},
			"no AuthorizationCode":     {seal(event, all[:4]...), platformID, msgcrypt.ErrEvent},
			"no XML within":            {p.codec.Seal([]byte("x"), now), platformID, msgcrypt.ErrEvent},
			"a ticket without a value": {seal(msgcrypt.Fields{"AppId": platformID, "CreateTime": "1", "InfoType": infoVerifyTicket}, all[:3]...), platformID, msgcrypt.ErrEvent},
		} {
			answer, err := p.Callback(f.Context(), http.MethodPost, c.push.Query(), c.push.Body("AppId", c.envelope))
			if answer != "" || !errors.Is(err, c.want) {
				f.Errorf("%s: %q, %v, want %v", name, answer, err, c.want)
			}
		}
		unknown := seal(msgcrypt.Fields{"AppId": platformID, "CreateTime": "1", "InfoType": "notify_third_fasteregister"}, all[:3]...)
		if answer, err := p.Callback(f.Context(), http.MethodPost, unknown.Query(), unknown.Body("AppId", platformID)); answer != "success" || err != nil {
			f.Errorf("an unknown event: %q, %v", answer, err)
		}
		issuer, err := msgcrypt.Config{Token: pushToken, EncodingAESKey: pushKey, Receivers: []string{"whoever owns the platform"}}.Codec()
		if err != nil {
			f.Fatal(err)
		}
		echo := issuer.Seal([]byte("12345"), now)
		query := echo.Query()
		query.Set("echostr", echo.Encrypt)
		if answer, err := p.Callback(f.Context(), http.MethodGet, query, nil); answer != "12345" || err != nil {
			f.Errorf("an echostr: %q, %v", answer, err)
		}
	})
}

func TestAccountsThatAreThereAlreadyGetTheirSources(t *testing.T) {
	following := func(c *PlatformConfig) {
		if _, err := c.Coordinator.Add(coordinator.AccountConfig{Name: "wxa", Parent: platformAccount}); err != nil {
			t.Error(err)
		}
		c.Following = []string{"wxa"}
	}
	inPlatformFleet(t, following, func(f *platformFleet) {
		time.Sleep(time.Minute)
		f.authorize("wxa")
		time.Sleep(time.Minute)
		f.alive("after its authorization")
		for _, p := range f.processes {
			if account, _ := p.zk.Account("wxa"); account.Role() != coordinator.Refresher {
				f.Errorf("the account is a %v of its token:\n%s", account.Role(), f.tail())
			}
		}
	})
}
