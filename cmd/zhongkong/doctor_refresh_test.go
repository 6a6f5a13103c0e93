package main

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// startOfDay sets WeChat's clock to 6 in the morning of its day (UTC+8), long
// before its quotas are whole again.
func (b *bench) startOfDay() {
	b.t.Helper()
	now := time.Now().In(time.FixedZone("UTC+8", 8*60*60))
	six := time.Date(now.Year(), now.Month(), now.Day()+1, 6, 0, 0, 0, now.Location())
	b.wechat.Advance(six.Sub(now))
}

// failing has every call of the classic endpoint answered so from now on.
func (b *bench) failing(fault wechattest.Fault) {
	b.t.Helper()
	fault.Path = "/cgi-bin/token"
	if _, err := b.wechat.Inject(fault); err != nil {
		b.t.Fatal(err)
	}
}

func TestDoctorFindsARefreshThatComesAfterTheEndOfTheToken(t *testing.T) {
	b := newBench(t)
	b.startOfDay()
	b.must("show")
	b.failing(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 45009})
	b.fails(exitThrottled, "45009", "refresh")
	all := b.findings(exitOther)
	finds(t, all, "token", resultOK, "accepts")
	finds(t, all, "schedule", resultFail, "the next refresh comes in 1")
	finds(t, all, "schedule", resultFail, "clear_quota/v2")
}

func TestDoctorOfARefresherFailsWhenWeChatCannotBeReached(t *testing.T) {
	b := newBench(t)
	b.must("show")
	away := b.with("ZHONGKONG_API_BASE", "http://127.0.0.1:1")
	finds(t, away.findings(exitOther), "secret", resultFail, "check that this machine reaches http://127.0.0.1:1")
	reader := away.with("ZHONGKONG_SECRET", "")
	finds(t, reader.findings(exitDone), "token", resultWarn, "check that this machine reaches")
}

func TestDoctorDoesNotAdviseToStartAProcessWhereOneFails(t *testing.T) {
	b := newBench(t)
	b.failing(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 45009})
	b.startOfDay()
	b.fails(exitThrottled, "45009", "show", "--wait", "1s")
	all := b.with("ZHONGKONG_SECRET", "").findings(exitOther)
	finds(t, all, "token", resultFail, "see last call")
	finds(t, all, "last call", resultWarn, "45009")
	for check, f := range all {
		if strings.Contains(f.Fix, "start a process") {
			t.Errorf("%s: %s", check, f.Fix)
		}
	}
}

func TestDoctorGoesOnAfterAnAccountThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	b.must("show")
	sealed := b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_SEAL_KEY_FILE", b.file("keys", b.must("keygen")))
	r := sealed.run("doctor", appID, "wxother")
	if r.code != exitOther || !strings.Contains(r.stdout, appID+" token") || !strings.Contains(r.stdout, "wxother token") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	finds(t, sealed.findings(exitOther, appID), "token", resultFail, "not sealed")
}
