package coordinatortest

import (
	"context"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func subscriptionChecks() []check {
	return []check{
		{"accounts are added while it runs", addWhileRunning},
		{"accounts are removed while it runs", removeWhileRunning},
		{"accounts are added and removed before it runs", changeBeforeRunning},
		{"other accounts are not notified", othersAreNotNotified},
		{"a reader that becomes a refresher gets its events", readerBecomesRefresher},
		{"a load made after Subscribed misses nothing", nothingIsMissed},
		{"Run ends with its context, and nothing is called after it", runEnds},
		{"Run with an ended context returns", runWithEndedContext},
		{"the set is changed from many goroutines and from the watcher", changeFromEverywhere},
	}
}

func addWhileRunning(w *fixture) {
	r := new(recorder)
	sub := w.store.Subscribe(r)
	w.run(sub, r)
	for range 3 {
		added := w.beside()
		sub.Add(coordinator.Reader, added.account)
		w.until("Subscribed", func() bool { return r.follows(added.account) })
		added.refresh("token")
		r.await(added, coordinator.EventRefreshed)
	}
	sub.Add(coordinator.Reader) // nothing
}

func removeWhileRunning(w *fixture) {
	r := new(recorder)
	sub := w.store.Subscribe(r)
	stays, goes := w, w.beside()
	sub.Add(coordinator.Refresher, stays.account, goes.account)
	w.run(sub, r)
	w.until("Subscribed", func() bool { return r.follows(stays.account) && r.follows(goes.account) })
	sub.Remove(goes.account)
	goes.refresh("token")
	stays.refresh("token")
	r.await(stays, coordinator.EventRefreshed)
	for _, e := range r.of(coordinator.EventRefreshed) {
		if e.Account == goes.account {
			w.Error("an account that was removed is notified")
		}
	}
	sub.Remove(goes.account, "never added")

	sub.Add(coordinator.Refresher, goes.account)
	w.until("Subscribed again", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.subscribed) >= 2
	})
	goes.refresh("token")
	r.await(goes, coordinator.EventRefreshed)
}

func changeBeforeRunning(w *fixture) {
	r := new(recorder)
	sub := w.store.Subscribe(r)
	stays, goes := w, w.beside()
	sub.Add(coordinator.Refresher, stays.account)
	sub.Add(coordinator.Refresher, goes.account)
	sub.Remove(goes.account)
	w.run(sub, r)
	w.until("Subscribed", func() bool { return r.follows(stays.account) })
	goes.refresh("token")
	stays.refresh("token")
	r.await(stays, coordinator.EventRefreshed)
	if r.follows(goes.account) {
		w.Error("Subscribed names an account that was removed")
	}
}

func othersAreNotNotified(w *fixture) {
	events := w.follow(coordinator.Refresher)
	w.beside().refresh("token")
	w.refresh("token")
	events.await(w, coordinator.EventRefreshed)
	for _, e := range events.of(coordinator.EventRefreshed) {
		if e.Account != w.account {
			w.Errorf("notified of %q, which is not followed", e.Account)
		}
	}
}

func readerBecomesRefresher(w *fixture) {
	r := new(recorder)
	sub := w.store.Subscribe(r)
	sub.Add(coordinator.Reader, w.account)
	w.run(sub, r)
	w.until("Subscribed", func() bool { return r.follows(w.account) })
	sub.Add(coordinator.Refresher, w.account)
	w.until("a Wanted", func() bool {
		w.want()
		return len(r.of(coordinator.EventWanted)) > 0
	})
}

// Others commit all the while. Each generation after the one that a Load made
// after Subscribed finds must be notified.
func nothingIsMissed(w *fixture) {
	const subscribers, commitsAfter = 4, 10
	writer := w.another()
	ctx, cancel := context.WithCancel(w.Context())
	var wg sync.WaitGroup
	var generations []coordinator.Fence // the writer's until it has ended
	var seen coordinator.Fence
	step := func() bool {
		attempt, err := writer.store.Begin(w.Context(), w.account, w.start(seen))
		if err != nil {
			w.Errorf("Begin() = %v", err)
			return false
		}
		r, err := writer.store.Commit(w.Context(), w.account, w.stored(attempt, "token"))
		if err != nil {
			w.Errorf("Commit() = %v", err)
			return false
		}
		seen = r.Generation
		generations = append(generations, seen)
		return true
	}
	// Ends with ctx; waited for below.
	wg.Go(func() {
		for ctx.Err() == nil && len(generations) < 900 && step() {
		}
	})
	type follower struct {
		events *recorder
		loaded coordinator.Fence
	}
	var followers []follower
	for range subscribers {
		events := w.another().follow(coordinator.Refresher)
		followers = append(followers, follower{events, w.load().Record.Generation})
	}
	cancel()
	wg.Wait()
	for range commitsAfter {
		if !step() {
			return
		}
	}
	for n, f := range followers {
		notified := make(map[coordinator.Fence]bool)
		w.until("the last event", func() bool {
			for _, e := range f.events.of(coordinator.EventRefreshed) {
				notified[e.Record.Generation] = true
			}
			return notified[seen]
		})
		for _, generation := range generations {
			if generation > f.loaded && !notified[generation] {
				w.Errorf("follower %d loaded generation %d and was never notified of %d", n, f.loaded, generation)
			}
		}
	}
}

func runEnds(w *fixture) {
	r := new(recorder)
	sub := w.store.Subscribe(r)
	sub.Add(coordinator.Refresher, w.account)
	stop := w.run(sub, r)
	w.until("Subscribed", func() bool { return r.follows(w.account) })
	stop()
	other := w.another().follow(coordinator.Refresher)
	w.refresh("token")
	other.await(w, coordinator.EventRefreshed)
	sub.Remove(w.account)
	sub.Add(coordinator.Reader, w.account)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.late > 0 {
		w.Errorf("%d calls of the watcher after Run had returned", r.late)
	}
}

func runWithEndedContext(w *fixture) {
	sub := w.store.Subscribe(new(recorder))
	sub.Add(coordinator.Refresher, w.account)
	done := make(chan struct{})
	// Waited for below.
	go func() {
		defer close(done)
		sub.Run(canceled())
	}()
	select {
	case <-done:
	case <-time.After(patience):
		w.Errorf("Run() with an ended context does not return")
	}
}

// meddler is a watcher that changes its own subscription.
type meddler struct {
	*recorder
	sub coordinator.Subscription
}

func (m meddler) Notified(e coordinator.Event) {
	m.recorder.Notified(e)
	m.sub.Add(coordinator.Reader, e.Account+"-more")
}

func changeFromEverywhere(w *fixture) {
	r := new(recorder)
	m := &meddler{recorder: r}
	m.sub = w.store.Subscribe(m)
	m.sub.Add(coordinator.Refresher, w.account)
	w.run(m.sub, r)
	accounts := make([]string, 8)
	var wg sync.WaitGroup
	for n := range accounts {
		accounts[n] = w.beside().account
		wg.Go(func() {
			for range 10 {
				m.sub.Add(coordinator.Reader, accounts[n])
				m.sub.Remove(accounts[n])
				m.sub.Add(coordinator.Refresher, accounts[n])
			}
		})
	}
	wg.Wait()
	w.until("Subscribed", func() bool {
		for _, account := range append(accounts, w.account) {
			if !r.follows(account) {
				return false
			}
		}
		return true
	})
	w.refresh("token")
	w.until("what the watcher added", func() bool { return r.follows(w.account + "-more") })
}
