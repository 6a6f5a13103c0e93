package coordinator_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestHolderKilledMidCallIsReplaced(t *testing.T) {
	for name, reason := range map[string]string{"cold": "", "forced": "forced"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				survivors := []*process{}
				if reason != "" {
					survivors = append(survivors, f.refresher(), f.reader())
					f.token(survivors[0], time.Second)
					time.Sleep(time.Minute)
				}
				victim := f.idle(f.config(), f.source)
				f.source.Next(coordinatortest.Hangs())
				go func() { _, _ = victim.Refresh(t.Context()) }()
				time.Sleep(100 * time.Millisecond)
				issued := f.source.IssueOutside() // what the hung call issued
				victim.link.SetDown(true)         // and nobody will ever hear of it
				if reason == "" {
					survivors = append(survivors, f.refresher(), f.reader())
				}
				time.Sleep(4 * time.Second)
				synctest.Wait()
				f.wantCurrent(survivors...)
				if f.source.Current().Equal(issued) {
					t.Error("nobody took over within 4s")
				}
				time.Sleep(time.Minute)
				want := 2
				if reason != "" {
					want = 3
				}
				f.wantCalls(want)
			})
		})
	}
}

func TestPausedHoldersTokenIsNeverStored(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		others := []*process{f.refresher(), f.reader()}
		f.token(others[0], time.Second)
		time.Sleep(time.Minute)
		slow := &coordinatortest.Source{Name: "slow", Latency: 8 * time.Second}
		victim := f.idle(f.config(), slow)
		done := make(chan struct{})
		go func() { _, _ = victim.Refresh(t.Context()); close(done) }()
		time.Sleep(100 * time.Millisecond)
		victim.link.FailNext(memstore.OpExtend, 100) // paused: it extends nothing
		time.Sleep(4 * time.Second)
		f.wantCurrent(others...)
		f.wantCalls(2)
		<-done // with or without a token: its own came too late
		time.Sleep(10 * time.Second)
		f.wantCurrent(others...)
		if state := f.store.Peek(account); len(state.Open) != 0 {
			t.Errorf("%d attempts are open, want a quiet store", len(state.Open))
		}
	})
}

func TestSlowSourceKeepsLockAndAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 9 * time.Second
		fleet := []*process{f.refresher(), f.refresher(), f.refresher()}
		var wg sync.WaitGroup
		for _, p := range fleet {
			wg.Go(func() { f.token(p, 10*time.Second) })
		}
		wg.Wait()
		time.Sleep(time.Minute)
		f.wantCalls(1)
	})
}

func TestLostDataIsRestoredWithoutACall(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.refresher(), f.reader()}
		token := f.token(fleet[0], time.Second)
		time.Sleep(10 * time.Minute)

		f.store.Flush()
		time.Sleep(time.Second)
		if state := f.store.Peek(account); state.Record.Token.Reveal() != token {
			t.Errorf("after a flush the store has %v, want the token back within 1s", state.Record)
		}

		f.store.SetDown(true)
		time.Sleep(20 * time.Second)
		f.store.Flush()
		f.store.SetDown(false)
		time.Sleep(time.Second)
		if state := f.store.Peek(account); state.Record.Token.Reveal() != token {
			t.Errorf("after a restart the store has %v, want the token back within 1s", state.Record)
		}
		f.wantCalls(1)
		f.wantCurrent(fleet...)
	})
}

func TestAttemptsOutliveTheStoresData(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		survivors := []*process{f.refresher(), f.reader()}
		f.token(survivors[0], time.Second)
		time.Sleep(time.Minute)
		victim := f.idle(f.config(), f.source)
		f.source.Next(coordinatortest.IssuesAndHangs())
		go func() { _, _ = victim.Refresh(t.Context()) }()
		time.Sleep(100 * time.Millisecond)
		victim.link.SetDown(true) // killed, and its token with it
		f.store.Flush()           // and then every trace of its attempt
		time.Sleep(time.Minute)
		f.wantCurrent(survivors...)
		f.wantCalls(3)
	})
}
