package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// fault makes one thing go wrong, or somebody ask for something, by the dice.
func (s *simulation) fault() {
	p := s.fleet[s.rng.IntN(len(s.fleet))]
	switch s.rng.IntN(14) {
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
		s.redis.FlushAll()
	case 6:
		s.redis.FlushAll()
		s.faults++
	case 7: // the lock is lost in the middle of a refresh
		s.demand(p, false)
		time.Sleep(s.upTo(300 * time.Millisecond))
		s.redis.Del("zhongkong:{" + simAccount + "}:lock")
		s.faults++
		s.demand(s.fleet[s.rng.IntN(simRefresher)], true)
	case 8:
		s.kill()
	case 9: // a holder that is paused in the middle of a slow call
		s.source.Then(coordinatortest.Outcome{}.In(s.upTo(12 * time.Second)))
		s.faults++
		s.demand(p, false)
		time.Sleep(s.upTo(time.Second))
		s.partition(s.fleet[s.rng.IntN(simRefresher)], s.upTo(15*time.Second))
	case 10:
		s.source.IssueOutside()
		s.report(p)
	case 11:
		s.report(p)
	default:
		s.demand(p, true)
	}
}

// sourceFault scripts what the issuer does next, and has it asked.
func (s *simulation) sourceFault() {
	for range 1 + s.rng.IntN(3) {
		s.source.Then([]coordinatortest.Outcome{
			coordinatortest.AnswerLost(),
			coordinatortest.RequestLost(),
			coordinatortest.Hangs(),
			coordinatortest.IssuesAndHangs(),
			coordinatortest.Garbage(),
			coordinatortest.FailsWith(coordinator.FailedBusy, -1, "system error"),
			coordinatortest.Answers(coordinator.Issue{Token: coordinator.NewToken("x"), Life: -time.Hour}),
			coordinatortest.Outcome{}.In(5 * time.Second),
			coordinatortest.AnswerLost().In(4 * time.Second),
		}[s.rng.IntN(9)])
		s.faults++
	}
	if s.rng.IntN(2) == 0 {
		s.demand(s.fleet[s.rng.IntN(len(s.fleet))], true)
	}
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

// mend ends every fault that lasts.
func (s *simulation) mend() {
	for _, mend := range s.outages {
		mend()
	}
	s.outages = nil
	for s.source.Pending() > 0 { // nobody comes to hear what was scripted
		s.demand(s.fleet[0], true)
		time.Sleep(5 * time.Minute)
	}
}

// kill ends a process in the middle of a refresh as kill -9 does, as far as the
// others can tell: nothing of it reaches the store any more. Another one is
// started.
func (s *simulation) kill() {
	i := s.rng.IntN(len(s.fleet))
	victim := s.fleet[i]
	s.demand(victim, false)
	time.Sleep(s.upTo(300 * time.Millisecond))
	victim.link.set(true)
	s.faults++
	s.callers.Go(victim.end)
	s.fleet[i] = s.start(i < simRefresher)
}

// demand has a process force a refresh; whoever waits must hear of an end.
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
