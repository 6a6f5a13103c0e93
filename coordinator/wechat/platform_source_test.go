package wechat

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source/sourcetest"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const (
	platformID     = "wxplatform00000001"
	platformSecret = "f1e2d3c4b5a697887766554433221100"
	pushToken      = "pamtest"
	pushKey        = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	nextPushKey    = "4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws"
)

// playsPlatform is a simulated WeChat with one platform.
type playsPlatform struct {
	*testing.T
	*wechattest.Server
	source *ComponentSource
	list   *authorizerList
	token  coordinator.Token // a component_access_token
}

func inPlatform(t *testing.T, test func(p *playsPlatform)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := wechattest.New(wechattest.Config{Seed: 1, Components: []wechattest.Component{
			{AppID: platformID, Secret: platformSecret, Token: pushToken, EncodingAESKey: pushKey},
		}})
		defer s.Close()
		source, err := ComponentConfig{AppID: platformID, Secret: platformSecret, Transport: s.Transport()}.Source()
		if err != nil {
			t.Fatal(err)
		}
		p := &playsPlatform{T: t, Server: s, source: source, list: newAuthorizerList(platformID)}
		p.renew()
		test(p)
	})
}

// renew fetches a component_access_token.
func (p *playsPlatform) renew() {
	p.Helper()
	result, err := p.fetchComponent(p.ticket())
	if err != nil {
		p.Fatal(err)
	}
	p.token = result.Token
}

func (p *playsPlatform) ticket() string {
	p.Helper()
	ticket, err := p.IssueTicket(platformID)
	if err != nil {
		p.Fatal(err)
	}
	return ticket
}

func (p *playsPlatform) fetchComponent(ticket string) (coordinator.FetchResult, error) {
	return p.source.Fetch(p.Context(), coordinator.FetchRequest{
		Reason: coordinator.ReasonSchedule, Grant: coordinator.GrantToken{Token: coordinator.NewToken(ticket)},
	})
}

func (p *playsPlatform) authorize(appID string) (code string) {
	p.Helper()
	a, err := p.Authorize(platformID, appID)
	if err != nil {
		p.Fatal(err)
	}
	return a.Code
}

// fetch fetches an authorizer's token.
func (p *playsPlatform) fetch(appID, form, grant string) (coordinator.FetchResult, error) {
	s := &AuthorizerSource{service: &p.source.service, platform: platformID, appID: appID, list: p.list}
	return s.Fetch(p.Context(), coordinator.FetchRequest{
		Reason: coordinator.ReasonSchedule,
		Parent: coordinator.Record{Token: p.token},
		Grant:  coordinator.GrantToken{Token: coordinator.NewToken(grant), Form: form},
	})
}

// failure checks that err is a *coordinator.FetchError without secrets, of a kind and with a
// code.
func (p *playsPlatform) failure(err error, kind coordinator.FailureKind, code int) coordinator.FetchError {
	p.Helper()
	failure, ok := errors.AsType[*coordinator.FetchError](err)
	if !ok || failure.Kind != kind || failure.Code != coordinator.NumericCode(code) {
		p.Errorf("Fetch() = %v (%+v), want %s with %d", err, failure, kind, code)
		return coordinator.FetchError{}
	}
	for _, secret := range []string{platformSecret, p.token.Reveal(), "refreshtoken@@@", "ticket@@@", "queryauthcode@@@"} {
		if text := fmt.Sprintf("%v %+v", err, failure); secret != "" && strings.Contains(text, secret) {
			p.Errorf("the error has a secret: %s", text)
		}
	}
	return *failure
}

func (p *playsPlatform) refreshToken(appID string) string {
	for _, a := range p.Authorizers(platformID) {
		if a.AppID == appID {
			return a.RefreshToken
		}
	}
	return ""
}

func TestAComponentTokenIsFetchedWithTheTicketThatIsPresented(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		result, err := p.fetchComponent(p.ticket())
		if err != nil || result.Lifetime != 2*time.Hour || result.Calls != 1 || !p.Accepts(result.Token.Reveal(), time.Now()) {
			p.Fatalf("Fetch() = %+v, %v", result, err)
		}
		if result.Token.Equal(p.token) {
			p.Error("the second call brought the same token")
		}
		d := p.source.Description()
		if !d.Grant.Needed || !d.Grant.Received || d.Grant.Replay != coordinator.ReplayFree || d.Limits.PerDay != 10_000 {
			p.Errorf("Description() = %+v", d)
		}
		if text := fmt.Sprintf("%v %+v %#v", p.source, p.source, p.source); strings.Contains(text, platformSecret) {
			p.Errorf("printed: %s", text)
		}
	})
}

func TestARejectedTicketIsThatOfTheGrantAndHasPushesStartedOnce(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		old := p.ticket()
		p.Advance(12 * time.Hour)
		if err := p.StopPushes(platformID); err != nil {
			p.Fatal(err)
		}
		if failure := p.failure(second(p.fetchComponent(old)), coordinator.FailedGrant, 61005); failure.Calls != 2 {
			p.Errorf("%d calls, want that for a token and api_start_push_ticket", failure.Calls)
		}
		if failure := p.failure(second(p.fetchComponent("ticket@@@unknown")), coordinator.FailedGrant, 61006); failure.Calls != 1 {
			p.Errorf("%d calls at the second time", failure.Calls)
		}
		failure := p.failure(second(p.fetchComponent("")), coordinator.FailedBusy, 0)
		if failure.Calls != 0 || !strings.Contains(failure.Message, "no verify ticket") {
			p.Errorf("without a ticket: %+v", failure)
		}
		if stopped, err := p.source.StartPushes(p.Context()); stopped || err != nil {
			p.Errorf("StartPushes() = %t, %v: they had been started", stopped, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestRefusalsOfAPlatformNameTheirCause(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		if err := p.SetWhitelist(platformID, []string{"10.0.0.1"}); err != nil {
			p.Fatal(err)
		}
		failure := p.failure(second(p.fetchComponent(p.ticket())), coordinator.FailedRefused, 61004)
		if address, ok := SeenAddress(&failure); !ok || address != "127.0.0.1" || !strings.Contains(failure.Message, "third-party platform") {
			p.Errorf("61004: %v (address %q)", &failure, address)
		}
		if _, err := p.source.StartPushes(p.Context()); err == nil || !strings.Contains(err.Error(), "61004") {
			p.Errorf("StartPushes() = %v", err)
		}
		if err := p.SetWhitelist(platformID, nil); err != nil {
			p.Fatal(err)
		}
		if err := p.SetSecret(platformID, "another"); err != nil {
			p.Fatal(err)
		}
		p.failure(second(p.fetchComponent(p.ticket())), coordinator.FailedRefused, 61011)
		if err := p.SetSecret(platformID, platformSecret); err != nil {
			p.Fatal(err)
		}
		if err := p.Tune(func(k *wechattest.Knobs) { k.DailyComponent = 1 }); err != nil {
			p.Fatal(err)
		}
		if failure := p.failure(second(p.fetchComponent(p.ticket())), coordinator.FailedLater, 45009); failure.RetryIn < 10*time.Minute {
			p.Errorf("45009: %+v", failure)
		}
	})
}

func TestACodeIsExchangedForARefreshToken(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		result, err := p.fetch("wxa", AuthorizationCode, p.authorize("wxa"))
		refresh := p.refreshToken("wxa")
		if err != nil || result.Grant.Reveal() != refresh || result.GrantForm != "" || !p.Accepts(result.Token.Reveal(), time.Now()) {
			p.Fatalf("Fetch() with the code = %+v, %v", result, err)
		}
		again, err := p.fetch("wxa", "", refresh)
		if err != nil || !again.Grant.IsZero() || again.Token.Equal(result.Token) || again.Lifetime != 2*time.Hour {
			p.Errorf("Fetch() with the refresh token = %+v, %v", again, err)
		}
		if err := p.Tune(func(k *wechattest.Knobs) { k.RefreshTokenRotates = true }); err != nil {
			p.Fatal(err)
		}
		if rotated, err := p.fetch("wxa", "", refresh); err != nil || rotated.Grant.Reveal() != p.refreshToken("wxa") {
			p.Errorf("Fetch() that rotates = %+v, %v", rotated, err)
		}
	})
}

func TestTheListHasTheRefreshTokenOfALostExchange(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		for i := range 600 { // two pages
			p.authorize(fmt.Sprintf("wx%04d", i))
		}
		code := p.authorize("wxz")
		if _, err := p.Inject(wechattest.Fault{Kind: wechattest.FaultReset, Path: "/cgi-bin/component/api_query_auth", Times: 1}); err != nil {
			p.Fatal(err)
		}
		result, err := p.fetch("wxz", AuthorizationCode, code)
		if err != nil || result.Grant.Reveal() != p.refreshToken("wxz") || result.Calls != 5 {
			p.Fatalf("Fetch() = %+v, %v, want a lost exchange, a refused one, two pages and a refresh", result, err)
		}
		late := p.authorize("wxy")
		waits := p.failure(second(p.fetch("wxy", AuthorizationCode, "queryauthcode@@@unknown")), coordinator.FailedLater, 0)
		if !strings.Contains(waits.Message, "61009") || !strings.Contains(waits.Message, "was read a short time ago") {
			p.Errorf("a refused code whose list was read a short time ago: %v", &waits)
		}
		if pages := p.DailyCalls(platformID, "/cgi-bin/component/api_get_authorizer_list"); total(pages) != 2 {
			p.Errorf("the list was read again at once: %v", pages)
		}
		time.Sleep(listInterval)
		failure := p.failure(second(p.fetch("wxy", AuthorizationCode, "queryauthcode@@@unknown")), coordinator.FailedGrant, 61009)
		if !strings.Contains(failure.Message, "authorize the platform again") {
			p.Errorf("a code that no list helps: %v", &failure)
		}
		if !p.list.wanted {
			p.Error("the list is not wanted after a failure")
		}
		if _, err := p.fetch("wxy", AuthorizationCode, late); err != nil {
			p.Errorf("the right code: %v", err)
		}
	})
}

func TestEachCallIsCountedWhileTheListFails(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		if _, err := p.Inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Path: "/cgi-bin/component/api_get_authorizer_list", Code: -1}); err != nil {
			p.Fatal(err)
		}
		for _, calls := range []int{2, 1} { // the list is not asked for again at once
			before := len(p.Calls())
			failure := p.failure(second(p.fetch("wxa", AuthorizationCode, "queryauthcode@@@unknown")), coordinator.FailedBusy, -1)
			if made := len(p.Calls()) - before; failure.Calls != calls || made != calls {
				p.Errorf("%d calls are counted of %d, want %d", failure.Calls, made, calls)
			}
		}
	})
}

func total(byDay map[string]int) (n int) {
	for _, calls := range byDay {
		n += calls
	}
	return n
}

func TestAnInvalidRefreshTokenIsReadAnew(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		before, err := p.fetch("wxa", AuthorizationCode, p.authorize("wxa"))
		if err != nil {
			p.Fatal(err)
		}
		// Another program exchanges the code of the next authorization.
		if _, err := p.fetch("wxa", AuthorizationCode, p.authorize("wxa")); err != nil {
			p.Fatal(err)
		}
		result, err := p.fetch("wxa", "", before.Grant.Reveal())
		if err != nil || result.Grant.Reveal() != p.refreshToken("wxa") {
			p.Errorf("Fetch() = %+v, %v", result, err)
		}
		time.Sleep(listInterval)
		p.authorize("wxa") // and its code is lost
		p.failure(second(p.fetch("wxa", "", result.Grant.Reveal())), coordinator.FailedGrant, 61023)
		if err := p.Unauthorize(platformID, "wxa"); err != nil {
			p.Fatal(err)
		}
		time.Sleep(listInterval)
		p.failure(second(p.fetch("wxa", "", result.Grant.Reveal())), coordinator.FailedGrant, 61003)
	})
}

// WeChat has answered 61003 for accounts that its list had.
func TestAnAccountThatWeChatListsDoesAuthorizeThePlatform(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		granted, err := p.fetch("wxa", AuthorizationCode, p.authorize("wxa"))
		if err != nil {
			p.Fatal(err)
		}
		refresh := granted.Grant.Reveal()
		deny := func(times int) {
			p.Helper()
			if _, err := p.Inject(wechattest.Fault{
				Kind: wechattest.FaultErrcode, Path: "/cgi-bin/component/api_authorizer_token", Code: 61003, Times: times,
			}); err != nil {
				p.Fatal(err)
			}
		}
		for range 2 { // as often as it lasts
			deny(1)
			failure := p.failure(second(p.fetch("wxa", "", refresh)), coordinator.FailedLater, 61003)
			if failure.RetryIn != listInterval || failure.Calls != 2 || !strings.Contains(failure.Message, "list of authorizers has the account") {
				p.Errorf("a listed account: %+v", failure)
			}
			deny(1)
			if failure := p.failure(second(p.fetch("wxa", "", refresh)), coordinator.FailedLater, 0); failure.Calls != 1 {
				p.Errorf("a list that was just read was read again: %+v", failure)
			}
			time.Sleep(listInterval)
		}
		if _, err := p.fetch("wxa", "", refresh); err != nil {
			p.Errorf("once WeChat knows the account again: %v", err)
		}
		// The list has another refresh token.
		if _, err := p.fetch("wxa", AuthorizationCode, p.authorize("wxa")); err != nil {
			p.Fatal(err)
		}
		deny(1)
		if result, err := p.fetch("wxa", "", refresh); err != nil || result.Grant.Reveal() != p.refreshToken("wxa") {
			p.Errorf("another token is listed: %+v, %v", result, err)
		}
		time.Sleep(listInterval)
		if err := p.Unauthorize(platformID, "wxa"); err != nil {
			p.Fatal(err)
		}
		p.failure(second(p.fetch("wxa", "", p.refreshToken("wxa"))), coordinator.FailedGrant, 61003)
	})
}

func TestARejectedComponentTokenIsTheParents(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		code := p.authorize("wxa")
		if _, ok := p.KillEarly(platformID, wechattest.ComponentChain); !ok {
			p.Fatal("nothing was killed")
		}
		p.failure(second(p.fetch("wxa", AuthorizationCode, code)), coordinator.FailedParent, 40001)
		p.renew()
		result, err := p.fetch("wxa", AuthorizationCode, code)
		if err != nil {
			p.Fatal(err)
		}
		p.token = result.Token // an account's
		p.failure(second(p.fetch("wxa", "", result.Grant.Reveal())), coordinator.FailedParent, 61014)
		p.token = coordinator.Token{}
		p.failure(second(p.fetch("wxa", "", "x")), coordinator.FailedRefused, 0)
		p.renew()
		p.failure(second(p.fetch("wxa", "", "")), coordinator.FailedBusy, 0)
	})
}

func TestNothingIsSentAfterTheTimeForIt(t *testing.T) {
	inPlatform(t, func(p *playsPlatform) {
		calls := len(p.Calls())
		_, err := p.source.Fetch(context.Background(), coordinator.FetchRequest{
			Grant: coordinator.GrantToken{Token: coordinator.NewToken(p.ticket())}, SendBefore: time.Now(),
		})
		if failure := p.failure(err, coordinator.FailedBusy, 0); failure.Calls != 0 || len(p.Calls()) != calls {
			p.Errorf("%d calls: %v", failure.Calls, err)
		}
	})
}

func TestAListCountsIfItIsWholeWithinTheLimit(t *testing.T) {
	sourcetest.Limit(t, listBody, `{"total_count":1,"list":[{"authorizer_appid":"wxa"}]}`, "1", func(body string) (string, error) {
		page, _, err := readPage([]byte(body))
		return strconv.Itoa(len(page)), err
	})
}

func TestBrokenListsAreErrorsWithoutTokens(t *testing.T) {
	for _, body := range []string{
		"", "[]", "{}", `{"list":[]}`, `{"total_count":"x","list":[]}`, `{"total_count":1,"list":{"refresh_token":"refreshtoken@@@x"}}`,
		"<html>",
	} {
		if _, _, err := readPage([]byte(body)); err == nil || strings.Contains(err.Error(), "@@@") {
			t.Errorf("readPage(%q) = %v", body, err)
		}
	}
	page, count, err := readPage([]byte(`{"total_count":"2","list":[{"authorizer_appid":"wxa","refresh_token":"r","auth_time":"1413192605"},{"authorizer_appid":"wxb"}]}`))
	if err != nil || count != 2 || len(page) != 2 || page[0] != (listed{"wxa", "r", time.Unix(1413192605, 0)}) || page[1].refresh != "" {
		t.Errorf("readPage() = %v, %d, %v", page, count, err)
	}
}

// WeChat documents that an account has no tokens unless it has API permissions.
func TestAnAuthorizationWithoutATokenIsOfAnAccountWithoutAPIPermissions(t *testing.T) {
	for info, refresh := range map[string]string{
		`"authorizer_appid":"wxa","func_info":[]`: "",
		`"authorizer_appid":"wxa","authorizer_access_token":"","expires_in":0,"authorizer_refresh_token":"","func_info":[]`:     "",
		`"authorizer_appid":"wxa","authorizer_refresh_token":"refreshtoken@@@x","func_info":[{"funcscope_category":{"id":17}}]`: "refreshtoken@@@x",
	} {
		for _, body := range []string{`{"authorization_info":{` + info + `}}`, `{` + info + `}`} {
			inPlatform(t, func(p *playsPlatform) {
				code := p.authorize("wxa")
				if _, err := p.Inject(wechattest.Fault{Kind: wechattest.FaultBody, Path: "/cgi-bin/component/api_query_auth", Body: body}); err != nil {
					p.Fatal(err)
				}
				result, err := p.fetch("wxa", AuthorizationCode, code)
				failure := p.failure(err, coordinator.FailedRefused, 0)
				if !strings.Contains(failure.Message, "no API permissions") || failure.Calls != 1 || result.Grant.Reveal() != refresh || !result.Token.IsZero() {
					p.Errorf("%s: %+v, %+v", body, result, failure)
				}
			})
		}
	}
}
