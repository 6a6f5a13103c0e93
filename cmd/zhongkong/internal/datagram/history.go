package datagram

import (
	"sync"
	"time"
)

// maxRemembered is how many questions of one caller are remembered: 260 a
// second for as long as each has to be.
const maxRemembered = 16 << 10

// rememberedFor is how long a question has to be remembered: one from a fast
// clock is fresh for twice the window.
const rememberedFor = 2*Window + time.Second

// histories are the questions that each caller had answered lately.
type histories struct {
	began time.Time

	mu  sync.Mutex
	all map[string]*history // :: caller's name
}

func newHistories(now time.Time) *histories {
	// What was asked before this process began, the one before it may have
	// answered. Questions come in whole milliseconds.
	return &histories{began: now.Round(0).Truncate(time.Millisecond), all: make(map[string]*history)}
}

func (h *histories) of(name string) *history {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.all[name]
	if found == nil {
		found = &history{floor: h.began, seen: make(map[string]struct{})}
		h.all[name] = found
	}
	return found
}

// history admits each question once. It never forgets too early: a question is
// forgotten only together with the right to have asked it, whatever the
// clocks do meanwhile, because the floor rises above its time.
type history struct {
	mu    sync.Mutex
	seen  map[string]struct{} // the nonces in queue
	queue []remembered        // in the order they came
	floor time.Time           // questions from before it are refused
}

type remembered struct {
	nonce string
	sent  time.Time // by the caller's clock
	came  time.Time // by ours, monotonic
}

// admit records the question and returns Answered, or says why it is not to
// be answered.
func (h *history) admit(q question, now time.Time) Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetLocked(now)
	age := now.Sub(q.Time) // q.Time is a wall clock's, so is the difference
	if age > Window || age < -Window || q.Time.Before(h.floor) {
		return Stale
	}
	if _, again := h.seen[q.Nonce]; again {
		return Replayed
	}
	if len(h.queue) >= maxRemembered {
		return Full
	}
	h.seen[q.Nonce] = struct{}{}
	h.queue = append(h.queue, remembered{q.Nonce, q.Time, now})
	return Answered
}

func (h *history) forgetLocked(now time.Time) {
	n := 0
	for ; n < len(h.queue) && now.Sub(h.queue[n].came) > rememberedFor; n++ {
		old := h.queue[n]
		delete(h.seen, old.nonce)
		if after := old.sent.Add(1); after.After(h.floor) {
			h.floor = after
		}
	}
	if n == len(h.queue) {
		h.queue = nil // give the memory of a burst back
		return
	}
	h.queue = h.queue[n:]
}
