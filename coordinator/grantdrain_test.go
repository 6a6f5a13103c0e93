package coordinator_test

import (
	"context"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// What Drain waits for in a process that does not Run, as in a command.

// drainedSoon checks that Drain gives up what can no longer be lost, and that the log has
// these words once for each of the answers, as a warning.
func (f *grantFleet) drainedSoon(p *grantProcess, answers int, words string) {
	f.t.Helper()
	const most = 10*time.Second + 2*15*time.Second // the tries at the begin and at the end may hang
	ctx, cancel := context.WithTimeout(f.t.Context(), p.c.StopTime())
	defer cancel()
	began := time.Now()
	if err := p.c.Drain(ctx); err != nil || time.Since(began) > most {
		f.t.Errorf("Drain() = %v after %v, want nil within %v\n%s", err, time.Since(began), most, f.log)
	}
	if n := f.log.count("level=WARN", words); n != answers {
		f.t.Errorf("the log says %d times that %s, want %d\n%s", n, words, answers, f.log)
	}
}

const copyLags = "the copy of the grant is not up to date"

// wantStored checks that the log never says of an answer that it is not stored.
func (f *grantFleet) wantStored() {
	f.t.Helper()
	f.wantKept()
	if n := f.log.count("not stored yet"); n != 0 {
		f.t.Errorf("the log says %d times that an answer is not stored, which is\n%s", n, f.log)
	}
}

func TestDrainGivesUpTheCopyOfAnAnswerThatIsStored(t *testing.T) {
	for name, change := range map[string]func(*coordinator.Config){
		"with a spool": nil, "without a spool": func(cfg *coordinator.Config) { cfg.Spool = nil },
	} {
		t.Run(name, func(t *testing.T) {
			eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
				p := f.idleWith(new(memSpool), change)
				defer p.stop()
				f.consent(p)
				fail()
				f.token(p, time.Minute)
				f.drainedSoon(p, 1, copyLags)
				f.wantSent("r1")
				f.wantStored()
			})
		})
	}
}

func TestDrainGivesUpTheCopyOfAnAnswerThatADeadProcessHasLeft(t *testing.T) {
	eachCopyFault(t, func(t *testing.T, f *grantFleet, fail func()) {
		p := f.start()
		f.consent(p)
		p.gate.dieAfter("spool")
		f.until(p.gate.isDead)
		time.Sleep(5 * time.Minute) // the attempt of the dead process is overdue, and its lock has ended
		fail()
		f.log.clear()
		q := f.idleWith(p.disk, nil)
		defer q.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _ = q.Token(ctx) // the answer is stored before a token is presented
		f.drainedSoon(q, 2, copyLags)
		f.wantStored()
		if q.disk.len() == 0 {
			t.Error("the spool does not have the answer for the next process")
		}
	})
}

func TestDrainLeavesAnAnswerInTheSpoolWhileTheStoreIsAway(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.start()
		f.consent(p)
		p.gate.dieAfter("spool")
		f.until(p.gate.isDead)
		time.Sleep(5 * time.Minute)
		q := f.idleWith(p.disk, nil)
		defer q.stop()
		q.gate.at("read spool", func() { f.store.SetDown(true) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if token, err := q.Token(ctx); err == nil {
			t.Errorf("Token() = %v, though the store is away", token)
		}
		f.drainedSoon(q, 1, "is in the spool only")
		if q.disk.len() != 1 {
			t.Errorf("%d answers are in the spool, want one", q.disk.len())
		}
	})
}

// The copy is not given up by Drain while something Runs.
func TestDrainLeavesTheCopyToRun(t *testing.T) {
	grantBubble(t, neverRules, func(t *testing.T, f *grantFleet) {
		p := f.start()
		f.consent(p)
		p.gate.at("spool", func() { f.copy.set(func() { f.copy.full = true }) })
		f.token(p, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.c.Drain(ctx); err == nil {
			t.Errorf("Drain() = nil, though the copy is to be written\n%s", f.log)
		}
		f.copy.works()
		time.Sleep(5 * time.Second)
		if got := f.copy.peek(); !got.Same(f.store.PeekGrant(account)) {
			t.Errorf("the copy has version %d", got.Version)
		}
	})
}
