package coordinator_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestStatusAndCurrentAgreeOnWhatIsStale(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		runs, idle := f.refresher(), f.idle(f.config(), f.source)
		agree := func(when string, stale bool) {
			t.Helper()
			for name, p := range map[string]*process{"runs": runs, "idle": idle} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				s, err := p.Current(ctx)
				cancel()
				if status := p.Status().Stale; err == nil && status != s.Stale || p == runs && (err != nil || status != stale) {
					t.Errorf("%s, %s: Status().Stale = %v, Current() = stale %v, %v; want %v", name, when, status, s.Stale, err, stale)
				}
			}
		}
		agree("at first", false)
		f.store.SetDown(true)
		time.Sleep(5 * time.Second)
		agree("while the store is away", true)
		f.store.SetDown(false)
		time.Sleep(5 * time.Second)
		agree("when it is back", false)
		runs.link.SetDown(true)
		time.Sleep(5 * time.Second)
		agree("while it is away for one", true)
		runs.link.SetDown(false)
		time.Sleep(5 * time.Second)
		agree("at last", false)
	})
}

func TestAReaderKnowsTheRefreshersPlanWhateverItsOwnConfigurationSays(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		often := f.longConfig()
		often.RefreshEvery = 20 * time.Minute
		refresher := f.start(often, f.source)
		reader := f.start(f.longConfig(), nil) // an hour, the default
		f.wantCurrent(refresher, reader)
		synctest.Wait()
		// Each process spreads its own look at the schedule over two seconds.
		want, got := refresher.Status().NextRefresh, reader.Status().NextRefresh
		if d := got.Sub(want).Abs(); d > 2*time.Second || time.Until(want) > 20*time.Minute+2*time.Second {
			t.Errorf("the reader expects the next refresh at %v, the refresher makes it at %v", got, want)
		}
	})
}
