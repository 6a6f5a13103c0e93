package wecom_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

func TestATokenOfASuiteIsServedAtEachMoment(t *testing.T) {
	t.Run("WeCom states the life that is left", func(t *testing.T) { servedAtEachMoment(t, false, 3*time.Second) })
	t.Run("WeCom states the whole life", func(t *testing.T) { servedAtEachMoment(t, true, 8*time.Second) })
}

// servedAtEachMoment has suites and a corp of each over two lives, of which WeCom repeats
// each value to its end. A dead value may be served for the seconds that WeCom's rounding
// and the fleet's spread take: before its end WeCom gives no other.
func servedAtEachMoment(t *testing.T, whole bool, longest time.Duration) {
	t.Helper()
	inProvider(t, func(k *wecomtest.Knobs) { k.AlwaysWhole = whole }, func(p *provider) {
		p.install(thirdParty, 1)
		p.install(customSuite, 1)
		time.Sleep(time.Minute)
		p.check("in the beginning")
		names := []string{thirdParty, thirdParty + "." + corpName(1), customSuite, customSuite + "." + corpName(1)}
		dead := map[string]time.Duration{}
		for end := time.Now().Add(5 * time.Hour); time.Now().Before(end); time.Sleep(time.Second) {
			synctest.Wait()
			for i, process := range p.processes {
				for _, name := range names {
					account, _ := process.zk.Account(name)
					record, served := account.Peek()
					s := account.Status()
					switch in := time.Until(s.NextRefresh); {
					case !served:
						p.Fatalf("%v: process %d serves no token of %s", time.Now(), i, name)
					case in > record.TTL:
						p.Fatalf("%v: the record of %s ends in %v, the next refresh comes in %v", time.Now(), name, record.TTL, in)
					}
					if issue, known := p.sandbox.Lookup(record.Token.Reveal()); !known {
						p.Fatalf("%v: a token of %s that WeCom does not know", time.Now(), name)
					} else {
						dead[name] = max(dead[name], p.sandbox.Now().Sub(issue.DiesAt))
					}
				}
				planned(p, process, names)
			}
		}
		for name, d := range dead {
			if d > longest {
				p.Errorf("a dead token of %s was served for %v, want %v at most", name, d, longest)
			}
		}
		corp, _ := p.calls("/cgi-bin/service/get_corp_token", 0)
		suites, _ := p.calls("/cgi-bin/service/get_suite_token", 0)
		// The first, and two at the end of each life; one more where the processes' spread
		// has the second one come before the value's end.
		if corp < 5 || corp > 7 || suites < 2*5 || suites > 2*7 {
			p.Errorf("%d calls for the corp, %d for two suites, want 5 to 7 each", corp, suites)
		}
	})
}

// planned fails if the store's state of an account plans a refresh after its record's end.
func planned(p *provider, process *process, names []string) {
	p.Helper()
	states, err := process.store.Load(p.Context(), names...)
	p.do(err)
	for _, state := range states {
		if in := state.NextRefresh(2 * time.Hour).Sub(state.Now); in > state.Record.TTL {
			p.Fatalf("%v: %s: the stored record ends in %v, the next refresh comes in %v", state.Now, state.Account, state.Record.TTL, in)
		}
	}
}
