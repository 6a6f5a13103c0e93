package coordinator_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// notListed is a source whose calls are refused because of their address, for so long if the
// issuer says so.
func notListed(retryIn time.Duration) *coordinatortest.Source {
	s := &coordinatortest.Source{Latency: 50 * time.Millisecond}
	s.Default(coordinatortest.Fails(&coordinator.FetchError{
		Kind: coordinator.FailedRefused, Code: "89506", Message: "this address is locked", RetryIn: retryIn, Calls: 1, Here: true,
	}))
	return s
}

// on makes a process of the host of this name. It does not run.
func (f *fleet) on(host string, s coordinator.Source) *process {
	f.t.Helper()
	p := f.idle(f.longConfig(), s)
	p.c.SetHost(host)
	return p
}

// runsOn starts a process of the host of this name.
func (f *fleet) runsOn(host string, s coordinator.Source) *process {
	f.t.Helper()
	p := f.on(host, s)
	p.stop = p.c.Start(f.t.Context())
	f.t.Cleanup(p.stop)
	return p
}

func TestARefusalOfOneHostsAddressDoesNotKeepOthersFromCalling(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		locked := notListed(24 * time.Hour)
		refused := f.runsOn("new", locked)
		time.Sleep(time.Second)
		if failure := refused.Status().Failure; failure == nil || failure.Code != "89506" || failure.InARow != 1 {
			t.Fatalf("the failure is %+v, want the refusal of the address", failure)
		}
		listed := f.runsOn("old", f.source)
		time.Sleep(2 * time.Second)
		f.wantCurrent(listed, refused)
		f.wantCalls(1)

		// The one that is refused leaves the next refreshes to the other.
		time.Sleep(20 * time.Hour)
		f.wantCurrent(listed, refused)
		if calls := len(locked.Calls()); calls != 1 {
			t.Errorf("%d calls from the address that is locked for a day, want 1", calls)
		}
	})
}

func TestAProcessWhoseAddressIsRefusedWaitsWhateverOtherHostsMeet(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		locked, again := notListed(time.Hour), notListed(5*time.Minute)
		p := f.runsOn("one", locked)
		time.Sleep(time.Second)
		f.runsOn("other", again)
		time.Sleep(50 * time.Minute)
		if calls := len(locked.Calls()); calls != 1 {
			t.Errorf("%d calls from the address that is locked for an hour, want 1", calls)
		}
		if calls := len(again.Calls()); calls < 5 {
			t.Errorf("%d calls from the address that is locked for 5 minutes, want one each time", calls)
		}
		began := time.Now()
		_, err := p.Token(t.Context())
		if refused := (*coordinator.RefusedError)(nil); !errors.As(err, &refused) || time.Since(began) > time.Second {
			t.Errorf("Token() = %v after %v, want a RefusedError at once", err, time.Since(began))
		}
	})
}

// A fleet may be behind one address. Its calls must not use up the day's.
func TestAFleetWhoseAddressesAreAllRefusedCallsAsOftenAsOneProcess(t *testing.T) {
	for _, hosts := range []int{1, 12} {
		t.Run(fmt.Sprint(hosts), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				source := notListed(0)
				for n := range hosts {
					f.runsOn(fmt.Sprint("host-", n), source)
				}
				time.Sleep(time.Second)
				if calls := len(source.Calls()); hosts == 1 && calls != 1 {
					t.Errorf("%d calls at first, want 1", calls)
				}
				time.Sleep(24 * time.Hour)
				if calls := len(source.Calls()); calls < 200 || calls > 400 {
					t.Errorf("%d calls in a day, want about 288", calls)
				}
				source.Default(coordinatortest.Outcome{})
				time.Sleep(2 * time.Hour)
				f.token(f.reader(), time.Second)
			})
		})
	}
}

func TestProcessesOfOneHostShareTheRefusalOfItsAddress(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		source := notListed(0)
		for range 5 {
			_, err := f.on("one", source).Token(t.Context())
			if refused := (*coordinator.RefusedError)(nil); !errors.As(err, &refused) {
				t.Errorf("Token() = %v, want a RefusedError", err)
			}
		}
		if calls := len(source.Calls()); calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	})
}

func TestAForcedRefreshThatSucceedsEndsTheRefusalOfAnAddress(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		locked := notListed(24 * time.Hour)
		p := f.runsOn("one", locked)
		time.Sleep(time.Second)
		locked.Default(coordinatortest.Outcome{})
		if _, err := f.on("one", locked).Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			time.Sleep(time.Hour)
			if _, ok := p.Peek(); !ok {
				t.Fatal("there is no token, though the address is not refused any more")
			}
		}
	})
}
