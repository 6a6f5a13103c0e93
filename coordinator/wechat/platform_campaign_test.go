package wechat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// TestAPlatformOfTwoThousandAuthorizersLivesThroughADay is a day with everything that
// happens to platforms: a cold start, pushes that are lost for eleven hours, a key that is
// changed while messages of the previous one are under way, and storms in which accounts
// authorize the platform again, or no longer. With the race detector there are a hundred.
func TestAPlatformOfTwoThousandAuthorizersLivesThroughADay(t *testing.T) {
	authorizers := 2000
	if raceEnabled {
		authorizers = 100
	}
	inPlatformFleet(t, nil, func(f *platformFleet) {
		begun := f.Now()
		// So many that no event is lost for good: what WeChat does not push is not promised.
		if err := f.Tune(func(k *wechattest.Knobs) { k.PushRetries = 30 }); err != nil {
			f.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		names := make([]string, authorizers)
		for i := range names {
			names[i] = fmt.Sprintf("wx%016d", i)
			f.authorize(names[i]) // the cold start: all of them at once
		}
		f.settles("the cold start", 5*time.Minute)
		f.passes(time.Hour)

		lost, err := f.InjectPush(wechattest.PushFault{Kind: wechattest.PushDrop})
		if err != nil {
			f.Fatal(err)
		}
		f.passes(11 * time.Hour)
		f.ClearPush(lost)
		f.passes(20 * time.Minute)
		if !f.said(pushesBack, "process=a") || !f.said(pushesBack, "process=b") {
			f.Errorf("pushes are late after they have come back:\n%s", f.tail())
		}

		f.changeKey()
		for _, kind := range []wechattest.PushFaultKind{
			wechattest.PushPreviousKey, wechattest.PushDuplicate, wechattest.PushReorder, wechattest.PushDrop, wechattest.PushSignature, wechattest.PushReceiver,
		} {
			if _, err := f.InjectPush(wechattest.PushFault{Kind: kind, Rate: 0.1}); err != nil {
				f.Fatal(err)
			}
		}
		gone := map[string]bool{}
		for range 4 {
			random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for i, name := range names[:authorizers*3/10] {
				switch {
				case gone[name]:
					f.authorize(name)
					gone[name] = false
				case i%3 == 0:
					f.unauthorize(name)
					gone[name] = true
				default:
					f.authorize(name)
				}
				if i%(authorizers/40) == 0 {
					time.Sleep(2 * time.Second)
				}
			}
			f.settles("a storm", 25*time.Minute)
			f.passes(30 * time.Minute)
		}
		f.ClearPush()
		f.passes(24*time.Hour - f.Now().Sub(begun))
		f.settles("the day", 0)

		for _, p := range f.Pushes() {
			if p.Lost && p.InfoType != wechattest.VerifyTicket {
				f.Errorf("an event was lost, so that the test proves nothing: %+v", p)
			}
		}
		f.withinQuota(names)
	})
}

// changeKey changes the EncodingAESKey in WeChat's console, and in the configuration of
// one process after the other.
func (f *platformFleet) changeKey() {
	f.Helper()
	f.key, f.previous = nextPushKey, pushKey
	for i, p := range slices.Clone(f.processes) {
		p.stop()
		f.start(fmt.Sprintf("new %d", i), nil)
		f.processes = append(f.processes[:i], f.processes[len(f.processes)-1])
	}
	if err := f.ChangeKey(platformID, nextPushKey); err != nil {
		f.Fatal(err)
	}
	f.settles("the change of the key", 5*time.Minute)
}

// withinQuota checks the calls of each day.
func (f *platformFleet) withinQuota(names []string) {
	f.Helper()
	for path, most := range map[string]int{
		"api_component_token": 100, "api_query_auth": 10_000, "api_get_authorizer_list": 2000, "api_start_push_ticket": 200,
	} {
		for day, n := range f.DailyCalls(platformID, componentPath+path) {
			f.Logf("%s on %s: %d", path, day, n)
			if n > most {
				f.Errorf("%d calls of %s on %s, want %d at most", n, path, day, most)
			}
		}
	}
	for _, name := range names {
		for day, n := range f.DailyCalls(name, componentPath+"api_authorizer_token") {
			if n > 60 {
				f.Errorf("%d calls of api_authorizer_token for %s on %s", n, name, day)
			}
		}
	}
}
