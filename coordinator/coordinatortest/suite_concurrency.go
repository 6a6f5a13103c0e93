package coordinatortest

import (
	"errors"
	"slices"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
)

func concurrencyChecks() []check {
	return []check{
		{"operations of many goroutines and processes are atomic", operationsAreAtomic},
		{"locks, loads and extensions do not get in each other's way", mixedOperations},
	}
}

// Many attempts run against each other without a lock. Fences must be unique,
// every attempt must end stored or superseded, generations must never go back,
// and one more refresh must leave the store quiet.
func operationsAreAtomic(w *fixture) {
	const workers, rounds = 8, 8
	events := w.another().follow(coordinator.Refresher)
	var mu sync.Mutex // guards fences and committed
	fences := make(map[coordinator.Fence]int)
	var committed []coordinator.Fence
	superseded := 0
	var wg sync.WaitGroup
	for n := range workers {
		process := w
		if n%2 == 1 {
			process = w.another()
		}
		wg.Go(func() {
			var seen coordinator.Fence
			for done := 0; done < rounds; {
				attempt, err := process.store.Begin(w.Context(), w.account, w.start(seen))
				if err != nil {
					w.Errorf("Begin() = %v", err)
					return
				}
				if attempt.Fence == 0 {
					seen = attempt.Record.Generation
					continue
				}
				done++
				r, err := process.store.Commit(w.Context(), w.account, w.stored(attempt, "token"))
				mu.Lock()
				fences[attempt.Fence]++
				switch {
				case err == nil:
					committed = append(committed, r.Generation)
				case errors.Is(err, coordinator.ErrSuperseded):
					superseded++
				default:
					w.Errorf("Commit() = %v", err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(fences) != workers*rounds {
		w.Errorf("%d attempts have %d different fences", workers*rounds, len(fences))
	}
	if len(committed)+superseded != workers*rounds || len(committed) == 0 {
		w.Fatalf("%d attempts were stored, %d superseded, of %d", len(committed), superseded, workers*rounds)
	}
	newest := slices.Max(committed)
	s := w.load()
	if s.Record.Generation != newest {
		w.Errorf("generation %d is stored, want %d", s.Record.Generation, newest)
	}
	// A superseded attempt is open until a commit that began after it.
	if len(s.Open) > superseded || s.Overdue() != len(s.Open) {
		w.Errorf("%d attempts are open, %d of them overdue; want up to %d, all overdue", len(s.Open), s.Overdue(), superseded)
	}
	w.refresh("the last")
	w.wantOpen(0, 0)
	w.until("all events", func() bool { return len(events.of(coordinator.EventRefreshed)) >= len(committed) })
	last := coordinator.Fence(0)
	for _, e := range events.of(coordinator.EventRefreshed) {
		if e.Record.Generation <= last {
			w.Errorf("generation %d was notified after %d", e.Record.Generation, last)
		}
		last = e.Record.Generation
	}
}

func mixedOperations(w *fixture) {
	const workers, rounds = 6, 10
	var wg sync.WaitGroup
	for range workers {
		process := w.another()
		wg.Go(func() {
			for range rounds {
				if _, err := process.store.Load(w.Context(), w.account); err != nil {
					w.Errorf("Load() = %v", err)
				}
				lock, err := process.store.Lock(w.Context(), w.account, long)
				if _, ok := errors.AsType[*coordinator.LockedError](err); ok {
					continue
				}
				if err != nil {
					w.Errorf("Lock() = %v", err)
					continue
				}
				if err := lock.Extend(w.Context(), 0); err != nil {
					w.Errorf("Extend() of a held lock = %v", err)
				}
				if err := lock.Unlock(w.Context()); err != nil {
					w.Errorf("Unlock() = %v", err)
				}
			}
		})
	}
	wg.Wait()
	w.lock(long)
}
