package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// polled is a store as most are: without changes.
type polled struct{ coordinator.Store }

// addMany gives processes more accounts; those that are refreshers of the first account
// are of these.
func (f *fleet) addMany(n int, to ...*process) {
	f.t.Helper()
	for i := range n {
		for _, p := range to {
			cfg := coordinator.AccountConfig{Name: fmt.Sprintf("wxother%d", i)}
			if p.Role() == coordinator.Refresher {
				cfg.Source = &coordinatortest.Source{RefreshIn: time.Hour}
			}
			if _, err := p.c.Add(cfg); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

func TestWhatHasNotChangedIsNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.addMany(200, p)
		time.Sleep(5 * time.Minute)
		before := p.link.Calls(memstore.OpLoad)
		time.Sleep(20 * time.Minute)
		if n := p.link.Calls(memstore.OpLoad) - before; n > 25 {
			t.Errorf("the store was read %d times in 20 minutes in which nothing has changed, want about one probe each minute", n)
		}
	})
}

func TestAChangeThatWasNotifiedIsReadOnceWithinPollEvery(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.reader()}
		f.wantCurrent(fleet...)
		time.Sleep(5 * time.Minute)
		before := fleet[1].link.Calls(memstore.OpLoad)
		for fleet[1].link.Calls(memstore.OpLoad) == before { // the account is read in its turn, and not again for PollEvery
			time.Sleep(100 * time.Millisecond)
		}
		before = fleet[1].link.Calls(memstore.OpLoad)
		if _, err := fleet[0].Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if n := fleet[1].link.Calls(memstore.OpLoad) - before; n > 1 {
			t.Errorf("%d readings at once", n)
		}
		time.Sleep(68 * time.Second)
		if got := fleet[1].Status().CallsToday; got != 2 {
			t.Errorf("the reader knows of %d calls, want 2", got)
		}
	})
}

// The account that a process has seen last may be written again before the process looks.
func TestALossIsNoticedAlsoIfTheLastAccountIsWrittenAgainAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p := f.refresher()
		f.addMany(20, p)
		time.Sleep(2 * time.Minute)
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		f.store.Flush()
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		for i := range 20 {
			if name := fmt.Sprintf("wxother%d", i); !f.store.Peek(name).Record.Usable() {
				t.Errorf("the token of %s was not restored", name)
			}
		}
	})
}

func TestWhereChangesCannotBeReadAccountsArePolled(t *testing.T) {
	for name, breaks := range map[string]func(*fleet, *process){
		"it fails":            func(_ *fleet, p *process) { p.link.FailNext(memstore.OpChanges, 1<<30) },
		"nothing records any": func(f *fleet, _ *process) { f.store.RecordNoChanges(true); f.store.Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				refresher, reader := f.refresher(), f.reader()
				f.addMany(100, refresher, reader)
				time.Sleep(2 * time.Minute)
				breaks(f, reader)
				time.Sleep(3 * time.Second)
				f.store.DropNotifications(true)
				a, _ := refresher.c.Account("wxother50")
				s, err := a.Refresh(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(66 * time.Second) // PollEvery, and a tenth
				b, _ := reader.c.Account("wxother50")
				if got := b.Status().Record.Generation; got != s.Generation {
					t.Errorf("the reader has generation %d, want %d", got, s.Generation)
				}
			})
		})
	}
}

func TestAStoreWithoutChangesIsPolled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		cfg := f.config()
		link := f.store.Instance("polls")
		cfg.Store, cfg.Accounts = polled{link}, []coordinator.AccountConfig{{Name: account, Source: f.source}}
		c, err := coordinator.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop := c.Start(t.Context())
		defer stop()
		time.Sleep(time.Minute)
		if n := link.Calls(memstore.OpLoad); n < 100 {
			t.Errorf("it was read %d times in a minute, want a probe each half second", n)
		}
	})
}

// A process of the version before records no changes. What it does on schedule is
// noticed by those of this version although its notifications are lost, and the other
// way around.
func TestScheduledRefreshesOfTheVersionBeforeAreNoticed(t *testing.T) {
	for name, older := range map[string]func(writer, reader *process) *process{
		"an old writer": func(writer, _ *process) *process { return writer },
		"an old reader": func(_, reader *process) *process { return reader },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.store.Begin(t.Context(), "another", coordinator.BeginRequest{TTL: time.Second, Reason: coordinator.ReasonSchedule}) //nolint:errcheck // the index exists
				cfg := f.config()
				cfg.ProbeEvery = 10 * time.Second
				writer, reader := f.idle(cfg, f.source), f.idle(cfg, nil)
				older(writer, reader).link.RecordNoChanges(true)
				for _, p := range []*process{writer, reader} {
					defer p.c.Start(t.Context())()
				}
				f.wantCurrent(writer, reader)
				f.store.DropNotifications(true)
				for range 5 {
					calls := len(f.source.Calls())
					for len(f.source.Calls()) == calls {
						time.Sleep(time.Second)
					}
					time.Sleep(90 * time.Second)
					f.wantCurrent(writer, reader)
				}
			})
		})
	}
}

// counting counts the accounts that are read.
type counting struct {
	*memstore.Instance
	read atomic.Int64
}

func (s *counting) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	s.read.Add(int64(len(accounts)))
	return s.Instance.Load(ctx, accounts...)
}

// A store that has lost the connection because it has too much to do would lose it again
// if all accounts were read at once.
func TestManyAccountsAreReadWithinPollEveryAfterAReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		const many = 1500
		refresher := f.refresher()
		f.addMany(many, refresher)
		store := &counting{Instance: f.store.Instance("reader")}
		cfg := f.config()
		cfg.Store = store
		reader, err := coordinator.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range many {
			if _, err := reader.Add(coordinator.AccountConfig{Name: fmt.Sprintf("wxother%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		defer reader.Start(t.Context())()
		time.Sleep(3 * time.Minute)
		a, _ := refresher.c.Account("wxother7")
		b, _ := reader.Account("wxother7")
		for range 3 {
			before := store.read.Load()
			store.SetDown(true)
			time.Sleep(time.Second)
			if _, err := a.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			store.SetDown(false)
			time.Sleep(2 * time.Second)
			if got, want := b.Status().Record.Generation, a.Status().Record.Generation; got != want {
				t.Errorf("the reader has generation %d, want %d", got, want)
			}
			if n := store.read.Load() - before; n > many/10 {
				t.Errorf("%d accounts were read at once", n)
			}
		}
		before := store.read.Load()
		time.Sleep(66 * time.Second)
		if n := store.read.Load() - before; n < many*9/10 || n > many*11/10 {
			t.Errorf("%d of %d accounts were read within PollEvery", n, many)
		}
	})
}

func TestAReadingOfTheChangesEndsAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		fleet := []*process{f.refresher(), f.reader()}
		f.wantCurrent(fleet...)
		time.Sleep(5 * time.Minute)
		reader := fleet[1]
		before := reader.link.Calls(memstore.OpLoad)
		for reader.link.Calls(memstore.OpLoad) == before { // the account is read in its turn, and not again for PollEvery
			time.Sleep(100 * time.Millisecond)
		}
		reader.link.FailNext(memstore.OpChanges, 1)
		time.Sleep(10 * time.Second)
		if s, err := reader.Current(t.Context()); err != nil || s.Stale {
			t.Errorf("Current() = stale %v, %v, 10 s after the store could not be asked once", s.Stale, err)
		}
	})
}

// unreadable is a store that cannot be read while broken, for another reason than an outage.
type unreadable struct {
	*memstore.Instance
	broken atomic.Bool
}

func (s *unreadable) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if s.broken.Load() {
		return nil, errors.New("an answer that cannot be read")
	}
	return s.Instance.Load(ctx, accounts...)
}

// A reading that failed is repeated after some seconds. A change that comes meanwhile does not
// wait for that.
func TestAChangeIsReadThoughThePauseAfterAFailureIsNotOver(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		refresher := f.refresher()
		store := &unreadable{Instance: f.store.Instance("reader")}
		reader := f.readerOf(store)
		time.Sleep(5 * time.Minute)
		store.broken.Store(true)
		f.store.Publish(coordinator.Event{Account: account, Kind: coordinator.EventRefreshed, Fence: greatest}) // has the account read
		time.Sleep(100 * time.Millisecond)
		store.broken.Store(false)
		f.store.DropNotifications(true)
		s, err := refresher.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		if got := reader.Status().Record.Generation; got != s.Generation {
			t.Errorf("the reader has generation %d, want %d", got, s.Generation)
		}
	})
}

// hanging is a store that does not answer a reading that begins while it hangs, for a second.
type hanging struct {
	*memstore.Instance
	hangs atomic.Bool
}

func (s *hanging) Load(ctx context.Context, accounts ...string) ([]coordinator.State, error) {
	if s.hangs.Load() {
		time.Sleep(time.Second)
		return nil, coordinator.ErrUnreachable
	}
	return s.Instance.Load(ctx, accounts...)
}

func (*hanging) Changes(context.Context, coordinator.Cursor) (coordinator.Changes, error) {
	return coordinator.Changes{}, coordinator.ErrNoChanges // as in a cluster
}

func (*hanging) Newest(context.Context) (coordinator.Cursor, error) {
	return coordinator.Cursor{}, coordinator.ErrNoChanges
}

// Its connection was gone before the one by which notifications flow again was made.
func TestAReadingThatFailsAfterAReconnectIsRepeatedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		refresher := f.refresher()
		store := &hanging{Instance: f.store.Instance("reader")}
		reader := f.readerOf(store)
		time.Sleep(10 * time.Second)
		store.hangs.Store(true)
		f.store.Publish(coordinator.Event{Account: account, Kind: coordinator.EventRefreshed, Fence: greatest}) // has the account read
		time.Sleep(10 * time.Millisecond)
		store.hangs.Store(false)
		store.SetDown(true)
		s, err := refresher.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		store.SetDown(false)
		time.Sleep(time.Second)
		if got := reader.Status().Record.Generation; got != s.Generation {
			t.Errorf("the reader has generation %d, want %d", got, s.Generation)
		}
	})
}
