package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func TestScheduleRefreshesEachHourOnceForAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.start(f.longConfig(), f.source), f.start(f.longConfig(), f.source), f.reader()}
		f.wantCallsAfter(24*time.Hour-time.Minute, 24)
		f.wantCurrent(fleet...)
	})
}

func TestSourceDecidesWhenItIsAskedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.RefreshIn = 100 * time.Minute
		f.start(f.longConfig(), f.source)
		f.start(f.longConfig(), f.source)
		time.Sleep(24 * time.Hour)
		f.wantCalls(15)
	})
}

func TestShortLivesAreRefreshedAtHalf(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Life = 20 * time.Second
		p := f.refresher()
		for range 50 {
			time.Sleep(time.Second)
			f.token(p, time.Millisecond)
		}
		f.wantCalls(5)
	})
}

func TestAReaderKnowsTheRefreshersPlanWhateverItsOwnConfigurationSays(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		often := f.longConfig()
		often.RefreshEvery = 20 * time.Minute
		refresher := f.start(often, f.source)
		reader := f.start(f.longConfig(), nil) // an hour, the default
		f.wantCurrent(refresher, reader)
		time.Sleep(2 * time.Minute) // the reader's first reading may show the attempt under way; the next does not
		synctest.Wait()
		// Each process spreads its own look at the schedule over two seconds.
		want, got := refresher.Status().NextRefresh, reader.Status().NextRefresh
		if d := got.Sub(want).Abs(); d > 2*time.Second || time.Until(want) > 20*time.Minute+2*time.Second {
			t.Errorf("the reader expects the next refresh at %v, the refresher makes it at %v", got, want)
		}
	})
}

func TestATokenThatLivesForYearsIsServedForAsLongAsTheStoreKeepsOne(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Life = 10 * 366 * 24 * time.Hour
		refresher, reader := f.refresher(), f.reader()
		f.token(reader, time.Second)
		f.wantCurrent(refresher, reader)
		if s, _ := reader.Peek(); s.Lifetime() != coordinator.MaxLifetime {
			t.Errorf("it lives for %v, want %v", s.Lifetime(), coordinator.MaxLifetime)
		}
		f.wantCallsAfter(30*time.Minute, 1)
	})
}
