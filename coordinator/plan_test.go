package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"
)

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
