//go:build unix

package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestTheTwoCommandsOfANewcomer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:6379")
	taken := err != nil
	if !taken {
		_ = l.Close()
	}
	f := newFleet(t).with("ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "", "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	if taken {
		p := f.run("serve", "--sandbox")
		if p.code() != 2 || !strings.Contains(p.stderr.String(), "pass --redis redis://127.0.0.1:6379") {
			t.Errorf("serve with the port taken = %d\n%s", p.code(), p.stderr.String())
		}
		return
	}
	daemon := f.serve(1, "--sandbox")[0]
	token := f.run("show").token()
	fresh := f.run("refresh").token()
	if len(token) < 100 || len(fresh) < 100 || token == fresh || f.run("show").token() != fresh {
		t.Errorf("show and refresh do not print tokens of one chain")
	}
	for _, command := range []string{"status", "history"} {
		if p := f.run(command); p.code() != 0 || !strings.Contains(p.stdout.String(), "wx8acdb7df5beb68fd") && command == "status" {
			t.Errorf("%s = %d\n%s%s", command, p.code(), p.stdout.String(), p.stderr.String())
		}
	}
	daemon.signal(syscall.SIGTERM)
	<-daemon.done
	if daemon.code() != 0 {
		t.Errorf("serve = %d after SIGTERM\n%s", daemon.code(), daemon.stderr.String())
	}
}

func TestFiveProcessesMakeOneCallARoundAndAllHaveEachToken(t *testing.T) {
	f := newFleet(t)
	f.slow(50 * time.Millisecond)
	all := f.serve(5, "--refresh-every", "3s")
	began := time.Now()
	f.eventually(3*time.Second, "the first token", func() bool { return f.stored() != "" })
	if n := f.calls(); n != 1 {
		t.Errorf("%d calls on a cold start, want 1", n)
	}

	seen := make([]map[uint64]bool, len(all)) // generations, of each process
	var wg sync.WaitGroup
	for i, p := range all {
		seen[i] = map[uint64]bool{}
		wg.Go(func() {
			for time.Since(began) < 16*time.Second {
				seen[i][p.generation()] = true
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if n := f.calls(); n < 5 || n > 7 {
		t.Errorf("%d calls in 16 s, want 5 to 7", n)
	}
	for i := range all {
		delete(seen[i], 0)
		if issued := len(f.wechat.Issued()); len(seen[i]) < issued-1 {
			t.Errorf("process %d had %d tokens of %d", i, len(seen[i]), issued)
		}
		if fmt.Sprint(seen[i]) != fmt.Sprint(seen[0]) && len(seen[i]) != len(seen[0]) {
			t.Errorf("process %d had %v, process 0 %v", i, seen[i], seen[0])
		}
	}
	f.keysKeepSecrets()
}

func TestTwentyColdShowsAreOneCall(t *testing.T) {
	f := newFleet(t)
	f.slow(50 * time.Millisecond)
	var all []*process
	for range 20 {
		all = append(all, f.start("show"))
	}
	for _, p := range all {
		<-p.done
		if p.code() != 0 || p.token() != f.lastIssued() {
			t.Errorf("show = %d, %d characters\n%s", p.code(), len(p.token()), p.stderr.String())
		}
	}
	if n := f.calls(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// afterIssuing is an answer that comes long after the token was issued.
func afterIssuing(d time.Duration) wechattest.Fault {
	return wechattest.Fault{Kind: wechattest.FaultSlow, Phase: wechattest.After, Delay: wechattest.Seconds(d), Times: 1}
}

func TestAnotherTakesOverWhenTheHolderIsKilled(t *testing.T) {
	f := newFleet(t)
	f.inject(afterIssuing(8 * time.Second))
	all := f.serve(3)
	f.eventually(3*time.Second, "the call", func() bool { return len(f.wechat.Issued()) == 1 })
	f.holder(all).signal(syscall.SIGKILL)
	took := f.eventually(8*time.Second, "another's token", func() bool { return f.stored() != "" })
	if took > 4*time.Second {
		t.Errorf("the next token took %v, want at most 4s", took)
	}
	if f.stored() != f.lastIssued() {
		t.Error("the store does not hold the token issued last")
	}
	f.eventually(5*time.Second, "a quiet store", f.quiet)
	if n := f.calls(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	t.Logf("the next token took %v", took)
}

func TestAHolderThatWasPausedNeverStoresItsOlderToken(t *testing.T) {
	f := newFleet(t)
	f.inject(afterIssuing(500 * time.Millisecond))
	all := f.serve(3)
	f.eventually(3*time.Second, "the call", func() bool { return len(f.wechat.Issued()) == 1 })
	paused := f.holder(all)
	paused.signal(syscall.SIGSTOP)
	older := f.wechat.Issued()[0].Token
	f.eventually(8*time.Second, "another's token", func() bool { return f.stored() != "" })
	paused.signal(syscall.SIGCONT)

	// It finds its answer waiting and its deadline passed. Which of the two it
	// sees first is chance: it comes to commit, or gives the answer up. Either
	// way it is unknown whose token was issued last, so one more refresh
	// follows by itself.
	f.eventually(10*time.Second, "the paused one's end in the log", func() bool {
		if f.stored() == older {
			t.Fatal("the older token was stored")
		}
		log := fmt.Sprint(f.redis.MustDo(t, "XRANGE", f.keyOf("", "log"), "-", "+"))
		return strings.Contains(log, "superseded") || strings.Contains(log, "failed")
	})
	f.eventually(10*time.Second, "a quiet store with the token issued last", func() bool {
		if f.stored() == older {
			t.Fatal("the older token was stored")
		}
		return f.quiet() && f.stored() == f.lastIssued()
	})
	if n := f.calls(); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestATokenThatRedisLostIsBackWithoutACall(t *testing.T) {
	f := newFleet(t)
	all := f.serve(3)
	f.eventually(5*time.Second, "the first token", func() bool { return f.stored() != "" })
	token := f.stored()
	for _, p := range all {
		f.eventually(5*time.Second, "every process to have it", func() bool { return p.generation() != 0 })
	}

	f.redis.FlushAll(t)
	took := f.eventually(5*time.Second, "the token after FLUSHALL", func() bool { return f.stored() != "" })
	if took > time.Second || f.stored() != token {
		t.Errorf("after FLUSHALL it took %v, want at most 1s and the same token", took)
	}
	t.Logf("after FLUSHALL: %v", took)

	f.redis.Kill()
	time.Sleep(2 * time.Second) // an outage: nothing may happen in it
	if n := f.calls(); n != 1 {
		t.Errorf("%d calls while Redis was away", n-1)
	}
	if p := f.run("show", "--wait", "1s"); p.code() != 5 {
		t.Errorf("show without Redis = %d, want 5\n%s", p.code(), p.stderr.String())
	}
	f.redis.Restart(t)
	took = f.eventually(5*time.Second, "the token after the restart", func() bool { return f.stored() != "" })
	if took > 1500*time.Millisecond || f.stored() != token {
		t.Errorf("after the restart it took %v, want about 1s and the same token", took)
	}
	t.Logf("after a restart: %v", took)
	if p := f.run("show"); p.token() != token {
		t.Errorf("show = %d, another token", p.code())
	}
	if n := f.calls(); n != 1 {
		t.Errorf("%d calls in all, want 1", n)
	}
}

func TestTheCurrentTokenIsServedWhateverTheSourceAnswers(t *testing.T) {
	f := newFleet(t)
	cfg := t.TempDir() + "/zk.yaml"
	writeFile(t, cfg, "fetch_timeout: 500ms\nbudget: {per_day: 1000, reserve: 1, min_interval: 1ms}\n")
	f = f.with("ZHONGKONG_CONFIG", cfg)
	f.serve(1)
	f.eventually(5*time.Second, "the first token", func() bool { return f.stored() != "" })
	token := f.stored()
	for name, fault := range map[string]wechattest.Fault{
		"-1":                   {Kind: wechattest.FaultErrcode, Code: -1},
		"HTML":                 {Kind: wechattest.FaultHTML},
		"an empty body":        {Kind: wechattest.FaultEmpty},
		"null":                 {Kind: wechattest.FaultNull},
		"nothing in time":      {Kind: wechattest.FaultHang},
		"a broken connection":  {Kind: wechattest.FaultReset},
		"no connection at all": {Kind: wechattest.FaultDial},
	} {
		f.wechat.Clear()
		fault.Phase = wechattest.Before
		f.inject(fault)
		if p := f.run("refresh", "--wait", "2s"); p.code() == 0 {
			t.Errorf("%s: refresh succeeded", name)
		}
		if p := f.run("show"); p.code() != 0 || p.token() != token {
			t.Errorf("%s: show = %d, want the current token\n%s", name, p.code(), p.stderr.String())
		}
	}
	f.wechat.Clear()
	f.eventually(20*time.Second, "a refresh once the source is well", func() bool { return f.run("refresh").code() == 0 })
	if f.stored() != f.lastIssued() {
		t.Error("the store does not hold the token issued last")
	}
}

func TestAWrongSecretIsSaidWithinASecond(t *testing.T) {
	f := newFleet(t).with("ZHONGKONG_SECRET", "ffffffffffffffffffffffffffffffff")
	began := time.Now()
	p := f.run("show")
	if took := time.Since(began); p.code() != 4 || took > time.Second || !strings.Contains(p.stderr.String(), "40125") {
		t.Errorf("show = %d after %v, want 4 within 1s\n%s", p.code(), took, p.stderr.String())
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	f := newFleet(t)
	f.inject(wechattest.Fault{Kind: wechattest.FaultHang, Phase: wechattest.Before})
	f.endsWithTheSecondSignal(f.serve(1)[0], "a second signal")
}

func TestASecondInterruptEndsACommandAtOnce(t *testing.T) {
	f := newFleet(t)
	f.inject(wechattest.Fault{Kind: wechattest.FaultHang, Phase: wechattest.Before})
	f.endsWithTheSecondSignal(f.start("refresh"), "a second interrupt")
}

// endsWithTheSecondSignal interrupts a process while a call to the source is under way. It
// has to wait for the call, and to say with these words how not to.
func (f *fleet) endsWithTheSecondSignal(p *process, words string) {
	f.t.Helper()
	f.eventually(5*time.Second, "the call", func() bool { return f.calls() > 0 })
	p.signal(syscall.SIGINT)
	f.eventually(5*time.Second, "it to say that it waits", func() bool { return strings.Contains(p.stderr.String(), words) })
	if p.ended() {
		f.t.Fatal("it did not wait for the call under way")
	}
	// Repeated, as by a person: the words may be a moment ahead of the signal
	// handler's end.
	f.eventually(2*time.Second, "it to end", func() bool {
		p.signal(syscall.SIGINT)
		return p.ended()
	})
}
