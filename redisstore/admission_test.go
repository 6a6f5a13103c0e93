package redisstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func newAdmission() *admission { return &admission{timeout: time.Second, most: firstAdmitted} }

// spend has an operation of so many units take so long.
func spend(t *testing.T, a *admission, units int, d time.Duration, answered bool) (granted int) {
	t.Helper()
	granted, err := a.admit(t.Context(), units)
	if err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	time.Sleep(d)
	a.release(granted, sent, answered)
	return granted
}

func TestWhatIsUnderWayFollowsHowFastTheServerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		if n := spend(t, a, 250, time.Millisecond, true); n != firstAdmitted {
			t.Errorf("%d units of 250 at first, want %d", n, firstAdmitted)
		}
		for range 6 {
			spend(t, a, 250, time.Millisecond, true)
		}
		if n := spend(t, a, 250, time.Millisecond, true); n != 250 {
			t.Errorf("%d units of 250 from a server that answers fast, want all", n)
		}
		before := a.most
		spend(t, a, 250, 600*time.Millisecond, true)
		if a.most != before/2 {
			t.Errorf("after a late answer %d units may be under way, want half of %d", a.most, before)
		}
		for range 20 {
			spend(t, a, 250, time.Second, true)
		}
		if a.most != leastAdmitted {
			t.Errorf("after many late answers %d units may be under way, want %d", a.most, leastAdmitted)
		}
		if a.underWay != 0 {
			t.Errorf("%d units are under way, want none", a.underWay)
		}
	})
}

func TestARefusedConnectionDoesNotCountAsAFastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		const roundTrip = 300 * time.Millisecond // to another region
		spend(t, a, 1, roundTrip, true)
		spend(t, a, 1, 200*time.Microsecond, false)
		for range 10 {
			spend(t, a, 250, roundTrip, true)
		}
		if n := spend(t, a, 250, roundTrip, true); n != 250 {
			t.Errorf("%d units of 250 from a server far away that answers at once, want all", n)
		}
	})
}

func TestAnApplicationThatIsGivenUpTellsNothingOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		held, err := a.admit(t.Context(), firstAdmitted)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := a.admit(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("admit() = %v, want the caller's own error", err)
		}
		a.release(held, time.Now(), true)
		if a.underWay != 0 || len(a.waiting) != 0 {
			t.Errorf("%d units under way, %d waiting; want none", a.underWay, len(a.waiting))
		}
	})
}

func TestTheFirstToComeIsTheFirstToBeAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		held, _ := a.admit(t.Context(), firstAdmitted)
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				if _, err := a.admit(t.Context(), mostAdmitted); err != nil {
					t.Error(err)
				}
				order <- i
				sent := time.Now()
				time.Sleep(time.Second)
				a.release(a.underWay, sent, true)
			}()
			synctest.Wait()
		}
		a.release(held, time.Now(), true)
		for want := range 3 {
			if got := <-order; got != want {
				t.Errorf("number %d was admitted as number %d", got, want)
			}
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
	})
}

func TestWhoWaitsForASilentServerIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		a.most = 1
		began := time.Now()
		refused := make(chan error)
		for range 100 {
			go func() {
				_, err := a.admit(t.Context(), 1)
				if err == nil {
					sent := time.Now()
					time.Sleep(a.timeout)
					a.release(1, sent, false)
					err = coordinator.ErrUnreachable
				}
				refused <- err
			}()
		}
		for range 100 {
			if err := <-refused; !errors.Is(err, coordinator.ErrUnreachable) {
				t.Errorf("admit() = %v, want ErrUnreachable", err)
			}
		}
		if took := time.Since(began); took > (patience+2)*a.timeout {
			t.Errorf("100 operations on a silent server took %v", took)
		}
	})
}
