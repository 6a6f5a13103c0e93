package wecom_test

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// A day of 500 corps with everything that goes wrong. With the race detector there are
// fifty.
func TestADayOfSuites(t *testing.T) {
	third, custom := 400, 100
	if raceEnabled {
		third, custom = 40, 10
	}
	inProvider(t, nil, func(p *provider) {
		p.kill(2)
		p.mu.Lock()
		p.processes = p.processes[:2]
		p.mu.Unlock()
		for i := range third {
			p.install(thirdParty, i)
		}
		for i := range custom {
			p.install(customSuite, i)
		}
		time.Sleep(2 * time.Minute)
		p.check("cold start")
		p.codes()
		p.pass(time.Hour, "the first hour")

		for _, id := range []string{thirdParty, customSuite} {
			p.fault(id, wecomtest.PushFault{Drop: true, For: 45 * time.Minute})
		}
		p.pass(50*time.Minute, "pushes are lost")
		p.pass(time.Hour, "after pushes were lost")

		p.changeKey()
		p.pass(time.Hour, "after the key was changed")
		p.storm(third, custom)
		p.pass(2*time.Hour, "after the storms")
		p.codes()
		p.kill(0)
		p.pass(time.Hour, "a process is down")
		p.start(0, keys{secondAESKey, firstAESKey})
		p.pass(24*time.Hour-time.Since(p.begun()), "the rest of the day")
		p.codes()
		p.lost()
		p.budget(third + custom)
	})
}

// begun returns when the bubble's time began.
func (p *provider) begun() time.Time { return p.sandbox.Pushes()[0].At }

// changeKey changes the EncodingAESKey of both suites: first here, process by process,
// then in the console. Some pushes come with the old one for a while.
func (p *provider) changeKey() {
	p.Helper()
	for i := range p.processes {
		p.restart(i, keys{secondAESKey, firstAESKey})
		time.Sleep(time.Minute)
	}
	for _, id := range []string{thirdParty, customSuite} {
		p.do(p.sandbox.SetCallback(p.Context(), id, p.callback(id, secondAESKey)))
		p.fault(id, wecomtest.PushFault{PreviousKey: true, Times: 2})
		p.fault(id, wecomtest.PushFault{WrongSignature: true})
		p.fault(id, wecomtest.PushFault{WrongReceiver: true})
	}
}

// storm has a quarter of the corps remove their suite and half of those install it again,
// a quarter change it, and half of the custom apps get new permanent codes: within a minute,
// pushed twice, late and out of order, while the store is away for some seconds.
func (p *provider) storm(third, custom int) {
	p.Helper()
	for _, id := range []string{thirdParty, customSuite} {
		p.fault(id, wecomtest.PushFault{Duplicate: true, Times: 40})
		p.fault(id, wecomtest.PushFault{Delay: 20 * time.Second, Times: 40})
		p.fault(id, wecomtest.PushFault{Reorder: true, Times: 10})
	}
	for i := range third / 4 {
		p.do(p.sandbox.Cancel(thirdParty, corpName(i)))
		p.do(p.sandbox.Change(thirdParty, corpName(third/2+i)))
		time.Sleep(100 * time.Millisecond)
	}
	for i := range custom / 4 {
		p.do(p.sandbox.Cancel(customSuite, corpName(i)))
		time.Sleep(100 * time.Millisecond)
	}
	p.store.SetDown(true)
	for i := range third / 8 {
		p.install(thirdParty, i)
	}
	time.Sleep(8 * time.Second)
	p.store.SetDown(false)
	for i := range custom / 8 {
		p.install(customSuite, i)
	}
	for i := range custom / 2 {
		_, err := p.sandbox.ResetPermanentCode(customSuite, corpName(custom/2+i))
		p.do(err)
	}
	time.Sleep(2 * time.Minute)
	p.check("storms")
}

// budget fails if there were more calls than there should be.
func (p *provider) budget(corps int) {
	p.Helper()
	for _, c := range p.sandbox.Calls() {
		if c.Code == 45009 {
			p.Fatalf("%v: %s of %s was blocked", c.At, c.Path, c.CorpID)
		}
	}
	corpCalls, gone := p.calls("/cgi-bin/service/get_corp_token", 40084)
	appCalls, wrong := p.calls(pathToken, 40001)
	suiteCalls, tickets := p.calls("/cgi-bin/service/get_suite_token", 40085)
	exchanges, bad := p.calls("/cgi-bin/service/get_permanent_code", 40078)
	p.Logf("calls: %d for corps (%d 40084), %d for custom apps (%d 40001), %d for suites (%d 40085), %d exchanges (%d 40078)",
		corpCalls, gone, appCalls, wrong, suiteCalls, tickets, exchanges, bad)
	if perCorp := float64(corpCalls+appCalls) / float64(corps); perCorp > 30 {
		p.Errorf("%.0f calls for each corp, want 24 and a few", perCorp)
	}
	if suiteCalls > 2*30 {
		p.Errorf("%d calls for the tokens of two suites, want 24 each and a few", suiteCalls)
	}
	if installs := corps + corps/2; exchanges > installs {
		p.Errorf("%d exchanges, want at most %d", exchanges, installs)
	}
	if wrong > 4 {
		p.Errorf("%d wrong secrets", wrong)
	}
}
