package redisstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// anyFault makes one thing go wrong, or somebody ask for something, by the dice.
func (s *simulation) anyFault() {
	p := s.fleet[s.rng.IntN(len(s.fleet))]
	switch s.rng.IntN(20) {
	case 0, 1, 2:
		s.sourceFault()
	case 3: // a connection breaks in the middle of a refresh
		s.demand(p, false)
		time.Sleep(s.upTo(300 * time.Millisecond))
		s.partition(p, s.upTo(20*time.Second))
	case 4:
		s.partition(p, s.upTo(20*time.Minute))
	case 5: // the server is restarted without its data
		down := s.upTo(2 * time.Minute)
		for _, each := range s.fleet {
			s.partition(each, down)
		}
		s.flush()
	case 6:
		s.loseData()
	case 7: // the lock is lost in the middle of a refresh
		s.source.Next(coordinatortest.Outcome{}.WithLatency(s.upTo(3 * time.Second)))
		s.demand(p, false)
		time.Sleep(s.upTo(time.Second))
		s.stealLock()
		s.demand(s.fleet[s.rng.IntN(simRefresher)], true)
	case 8:
		s.kill(s.rng.IntN(len(s.fleet)), s.upTo(300*time.Millisecond))
	case 12:
		s.overlap()
	case 13:
		s.herd()
	case 14:
		s.missARefresh()
	case 15:
		s.outage()
	case 9: // a holder that is paused in the middle of a slow call
		s.source.Next(coordinatortest.Outcome{}.WithLatency(s.upTo(12 * time.Second)))
		s.faults++
		s.demand(p, false)
		time.Sleep(s.upTo(time.Second))
		s.partition(s.fleet[s.rng.IntN(simRefresher)], s.upTo(15*time.Second))
	case 10:
		s.excused = true
		s.source.IssueOutside()
		s.report(p)
	case 11:
		s.report(p)
	case 18, 19:
		s.forge()
	default:
		s.demand(p, true)
	}
}

// nature is what goes wrong while no caller asks for a token: so what it
// costs in calls is the protocol's own.
func (s *simulation) nature() {
	p := s.fleet[s.rng.IntN(len(s.fleet))]
	switch s.rng.IntN(6) {
	case 0:
		s.source.Next(s.badOutcome())
	case 1:
		s.partition(p, s.upTo(time.Hour))
	case 2:
		s.flush()
	case 3:
		for _, each := range s.fleet {
			s.partition(each, s.upTo(10*time.Minute))
		}
	case 4:
		s.stealLock()
	default:
		s.replace(s.rng.IntN(len(s.fleet)))
	}
}

// sourceFault scripts what the issuer does next, and has it asked.
func (s *simulation) sourceFault() {
	for range 1 + s.rng.IntN(3) {
		s.source.Next(s.badOutcome())
		s.faults++
	}
	if s.rng.IntN(2) == 0 {
		s.demand(s.fleet[s.rng.IntN(len(s.fleet))], true)
	}
}

func (s *simulation) badOutcome() coordinatortest.Outcome {
	return []coordinatortest.Outcome{
		coordinatortest.AnswerLost(),
		coordinatortest.RequestLost(),
		coordinatortest.Hangs(),
		coordinatortest.IssuesAndHangs(),
		coordinatortest.Garbage(),
		coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"),
		coordinatortest.Answers(coordinator.FetchResult{Token: coordinator.NewToken("x"), Lifetime: -time.Hour}),
		coordinatortest.Outcome{}.WithLatency(5 * time.Second),
		coordinatortest.AnswerLost().WithLatency(4 * time.Second),
	}[s.rng.IntN(9)]
}

// upTo is a time by the dice, of any order of magnitude up to most.
func (s *simulation) upTo(most time.Duration) time.Duration {
	return max(time.Duration(s.rng.Float64()*s.rng.Float64()*float64(most)), time.Millisecond)
}

// partition cuts a process off for a while.
func (s *simulation) partition(p *simProcess, d time.Duration) {
	s.faults++
	p.link.set(true)
	timer := time.AfterFunc(d, func() { p.link.set(false) })
	s.outages = append(s.outages, func() {
		timer.Stop()
		p.link.set(false)
	})
}

// endFaults ends every fault that lasts.
func (s *simulation) endFaults() {
	for _, end := range s.outages {
		end()
	}
	s.outages = nil
	for _, p := range s.fleet {
		p.revive()
	}
	for try := 0; s.source.Pending() > 0; try++ { // no call consumes what was scripted
		if try == 50 {
			s.failf("the source is no longer called, even on demand")
			return
		}
		s.demand(s.fleet[0], true)
		time.Sleep(5 * time.Minute)
	}
}

// revive has the pool find out which of its connections are dead. Over
// sockets it would see that by itself.
func (p *simProcess) revive() {
	var pings sync.WaitGroup
	for range simPool {
		pings.Go(func() { _ = p.client.Ping(context.Background()).Err() })
	}
	pings.Wait()
}

// kill ends a process in the middle of a refresh as kill -9 does, as far as the
// others can tell: nothing of it reaches the store any more. Another one is
// started.
func (s *simulation) kill(i int, after time.Duration) {
	s.demand(s.fleet[i], false)
	time.Sleep(after)
	s.replace(i)
}

// replace ends a process as if it had been killed, and starts another.
func (s *simulation) replace(i int) {
	victim := s.fleet[i]
	victim.link.set(true)
	s.faults++
	s.callers.Go(victim.end)
	s.fleet[i] = s.start(i < simRefresher)
}

// flush loses all data, and with it the knowledge of what is under way.
func (s *simulation) flush() {
	s.faults++
	s.excused = true
	s.redis.FlushAll()
}

// outage makes Redis unreachable for all processes: then none calls the source,
// whoever asks for it.
func (s *simulation) outage() {
	s.endFaults()
	s.pass(time.Minute) // for the calls that are under way
	before := len(s.source.Calls())
	for _, p := range s.fleet {
		s.partition(p, 10*time.Minute)
	}
	for _, p := range s.fleet {
		s.demand(p, true)
	}
	s.pass(5 * time.Minute)
	if calls := len(s.source.Calls()) - before; calls > 0 {
		s.failf("%d calls to the source while Redis was away", calls)
	}
	s.endFaults()
}

// loseData flushes while all processes are connected: one that holds the token puts
// it back.
func (s *simulation) loseData() {
	s.endFaults()
	s.pass(time.Minute)
	s.flush()
	s.pass(2 * simProbe)
	if !s.redis.Exists("zhongkong:{" + simAccount + "}:token") {
		s.failf("data that was lost is not restored after %v", 2*simProbe)
	}
}

// missARefresh cuts a process off while the others get a new token: it must
// have it as soon as it is back.
func (s *simulation) missARefresh() {
	s.endFaults()
	s.pass(time.Minute)
	at := s.rng.IntN(len(s.fleet))
	away, other := s.fleet[at], s.fleet[(at+1)%simRefresher]
	if away == other {
		other = s.fleet[(at+2)%simRefresher]
	}
	s.faults++
	away.link.set(true)
	s.demand(other, true)
	s.pass(time.Minute)
	away.link.set(false)
	s.pass(simWatch)
	if got, want := away.account.Status().Record.Generation, other.account.Status().Record.Generation; got < want {
		s.failf("a process that is back for %v has generation %d, the others have %d", simWatch, got, want)
	}
}

// stealLock loses the lock, as a fail-over does.
func (s *simulation) stealLock() {
	s.faults++
	s.redis.Del("zhongkong:{" + simAccount + "}:lock")
}

// overlap has two calls under way at once: the lock is lost, and the second
// process has not heard yet of the first one's attempt. The first one's token
// is issued last. It comes too late to be stored, or its process is killed.
func (s *simulation) overlap() {
	s.endFaults()
	i := s.rng.IntN(simRefresher)
	second := s.fleet[(i+1)%simRefresher]
	second.link.slow(0, 300*time.Millisecond)
	s.source.Next(coordinatortest.Outcome{}.WithLatency(2 * time.Second))
	s.demand(s.fleet[i], false)
	time.Sleep(100 * time.Millisecond)
	s.stealLock()
	s.demand(second, false)
	if s.rng.IntN(2) == 0 {
		s.kill(i, 100*time.Millisecond)
	}
	time.Sleep(3 * time.Second)
	second.link.slow(0, 0)
}

// herd has everybody report the same dead token at once, over links of
// different speed: one call must do.
func (s *simulation) herd() {
	s.endFaults()
	s.pass(time.Minute)
	dead, err := s.fleet[0].account.Token(context.Background())
	if err != nil {
		s.failf("Token() after all faults have ended = %v", err)
		return
	}
	before := len(s.source.Calls())
	s.faults++
	s.excused = true
	s.source.IssueOutside()
	s.source.IssueOutside()
	var herd sync.WaitGroup
	// Either the last ones come when it is done, or all come before they can
	// have heard of the first.
	apart, lag := 130*time.Millisecond, time.Duration(0)
	if s.rng.IntN(2) == 0 {
		apart, lag = 0, 200*time.Millisecond
	}
	for i, at := range s.rng.Perm(len(s.fleet)) {
		p := s.fleet[at]
		p.link.slow(time.Duration(i)*apart, lag)
		herd.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), simPatience)
			defer cancel()
			if record, err := p.account.Invalidate(ctx, dead); err != nil || record.Token.Equal(dead) {
				s.failf("Invalidate() in a herd = generation %d, %v", record.Generation, err)
			}
		})
	}
	herd.Wait()
	for _, p := range s.fleet {
		p.link.slow(0, 0)
	}
	if calls := len(s.source.Calls()) - before; calls != 1 {
		s.failf("a herd that reports one token made %d calls, want 1", calls)
	}
}

// demand has a process force a refresh; every waiter must get an answer.
func (s *simulation) demand(p *simProcess, wait bool) {
	s.faults++
	s.call(wait, "Refresh", func(ctx context.Context) error {
		_, err := p.account.Refresh(ctx)
		return err
	})
}

// report has a service report the token that a process gave it, if it is dead.
func (s *simulation) report(p *simProcess) {
	s.faults++
	s.call(true, "Invalidate", func(ctx context.Context) error {
		token, err := p.account.Token(ctx)
		if err != nil || s.source.Valid(token) {
			return err
		}
		_, err = p.account.Invalidate(ctx, token)
		return err
	})
}

// call makes a call that must end in time, with an error that says something.
func (s *simulation) call(wait bool, name string, do func(context.Context) error) {
	done := make(chan struct{})
	s.callers.Go(func() { // waited for by check
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), simPatience)
		defer cancel()
		began := time.Now()
		err := do(ctx)
		if took := time.Since(began); took > simPatience+time.Second {
			s.failf("%s() took %v, its context ended after %v", name, took, simPatience)
		}
		if err != nil && !s.expected(err) {
			s.failf("%s() = %v", name, err)
		}
	})
	if wait {
		<-done
	}
}

// expected are the errors that faults may lead to.
func (s *simulation) expected(err error) bool {
	var fetch *coordinator.FetchError
	var throttled *coordinator.ThrottledError
	return errors.As(err, &fetch) || errors.As(err, &throttled) ||
		errors.Is(err, coordinator.ErrNoToken) || errors.Is(err, coordinator.ErrUnreachable) ||
		errors.Is(err, context.Canceled) // its process was killed
}
