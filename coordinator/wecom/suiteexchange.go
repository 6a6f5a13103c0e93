package wecom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// This file is the exchange of auth_codes for permanent codes. An auth_code is good for
// one exchange, and its answer is the only place where the permanent code is: so it is a
// grant that is used up, marked before it is presented. The answer takes its place, and
// goes from there to the account of its corp. Every step can be repeated by any process.

const (
	// exchangeFor is how long an exchange may be under way, with the storing of its answer.
	exchangeFor = 20 * time.Second

	// storeFor is how long an answer is tried to be stored once Run is to end.
	storeFor = 10 * time.Second

	// storeEvery is the pause between two tries.
	storeEvery = 200 * time.Millisecond

	// busyPause is how long no auth_code is exchanged after WeCom gave no answer.
	busyPause = 5 * time.Second

	// refusedPause is how long no auth_code is exchanged after WeCom refused the suite.
	refusedPause = time.Minute
)

// errNoCorp says that an answer names no corp.
var errNoCorp = errors.New("wecom: get_permanent_code names no corp")

// exchanged begins the Form of a permanent code that has not reached its corp's account;
// the corp and the time of the event follow.
const exchanged = "permanent_code "

func exchangedForm(corpID string, at time.Time) string {
	seconds := int64(0)
	if !at.IsZero() {
		seconds = at.Unix()
	}
	return exchanged + corpID + " " + strconv.FormatInt(seconds, 10)
}

// parseForm is the reverse of exchangedForm; ok is false for the Form of an auth_code.
func parseForm(form string) (corpID string, at time.Time, ok bool) {
	rest, ok := strings.CutPrefix(form, exchanged)
	corpID, seconds, _ := strings.Cut(rest, " ")
	return corpID, eventTime(seconds), ok
}

// settleAll settles the pending grants with these names, some at a time. unsettled says
// that some are not settled yet.
func (s *Suite) settleAll(ctx context.Context, names []string) (unsettled bool) {
	names = slices.DeleteFunc(names, s.rest)
	slots := make(chan struct{}, exchanges)
	var running sync.WaitGroup
	var left atomic.Int64
	for _, name := range names {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			switch err := s.settle(ctx, name); {
			case errors.Is(err, errWaits):
				left.Add(1)
			case err != nil:
				left.Add(1)
				s.log.Warn("an auth_code is not exchanged yet", "error", err)
			}
		})
	}
	running.Wait()
	return left.Load() > 0
}

// errWaits says that an auth_code waits: for the suite's token, which its account tells
// about, for a pause, or for another process' exchange.
var errWaits = errors.New("the auth_code waits")

// settle takes a pending grant as far as it goes. An error is no failure for good.
func (s *Suite) settle(ctx context.Context, name string) error {
	r, err := s.config.Grants.LoadGrant(ctx, name)
	if err != nil {
		return err
	}
	held := newest(r.Grant)
	if corpID, at, ok := parseForm(held.Form); ok {
		return s.adopt(ctx, name, corpID, held.Token, at)
	}
	suite, ok := s.config.Account.Peek()
	switch {
	case held.Token.IsZero():
		return s.drop(ctx, name, r)
	case r.Grant.Condition(pendingRules(), r.Now) == coordinator.GrantDead && isAwaited(r):
		s.lookAgain(name, syncEvery)
		return nil
	case r.Grant.Condition(pendingRules(), r.Now) == coordinator.GrantDead:
		return s.giveUp(ctx, name, r.Grant)
	case !ok, s.paused(), held.Until.Sub(r.Now) < exchangeFor:
		return errWaits
	}
	p, err := s.mark(ctx, name, suite.Token)
	if none := (*coordinator.GrantError)(nil); errors.As(err, &none) {
		return errWaits
	}
	if err != nil {
		return err
	}
	return s.exchange(ctx, name, p)
}

// keepWithin is how long an auth_code waits for the answer to its exchange. A permanent
// code that comes later still reaches its corp, from the process or the spool that has it.
const keepWithin = time.Hour

// isAwaited reports whether the answer to an exchange may still be stored.
func isAwaited(r coordinator.GrantReading) bool {
	return slices.ContainsFunc(r.Grant.Presentations, func(p coordinator.Presentation) bool {
		return !p.Over && r.Now.Sub(p.At) < keepWithin
	})
}

// presentation is an exchange that is marked.
type presentation struct {
	fence      coordinator.Fence
	code       coordinator.GrantToken
	suiteToken coordinator.Token
	sendBefore time.Time
}

// mark marks an auth_code as presented, and has that confirmed. If there is an error, no
// mark is left, as far as the store can be reached.
func (s *Suite) mark(ctx context.Context, name string, suiteToken coordinator.Token) (p presentation, err error) {
	p.suiteToken, p.sendBefore = suiteToken, time.Now().Add(exchangeFor/2)
	var none error
	tried := false
	marking, cancel := context.WithTimeout(ctx, exchangeFor/4)
	defer cancel()
	err = s.changePending(marking, name, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		if _, _, exchanged := parseForm(newest(g).Form); exchanged { // by another process, since it was read
			none = errWaits
			return g, false
		}
		if p.fence == 0 {
			p.fence = exchangeFence(g, now)
		}
		g, p.code, none = g.Present(coordinator.PresentRequest{
			Fence: p.fence, Now: now, For: exchangeFor, Rules: pendingRules(), Probe: true,
		})
		tried = tried || none == nil
		return g, none == nil // also of an earlier try, which is not confirmed yet
	})
	if err = cmp.Or(none, err); err != nil && tried { // the mark may be stored
		err = errors.Join(err, s.release(ctx, name, p.fence))
	}
	return p, err
}

// exchangeFence returns the fence of a new exchange. The mark is known by it, so no other
// process may have the same: where the clock alone decided, two that read at once would.
func exchangeFence(g coordinator.Grant, now time.Time) coordinator.Fence {
	ahead := rand.N(exchangeFor).Microseconds()
	return max(coordinator.Fence(now.UnixMicro()), g.Newest()+1, g.Consent+1) + coordinator.Fence(ahead)
}

// exchange presents an auth_code, and stores what comes of it, also if running ends.
func (s *Suite) exchange(running context.Context, name string, p presentation) error {
	ctx := context.WithoutCancel(running)
	a, failure := s.service.send(ctx, request{
		endpoint:   endpoint{path: "/cgi-bin/service/get_permanent_code", member: "permanent_code", classify: ClassifySuite},
		query:      url.Values{"suite_access_token": {p.suiteToken.Reveal()}},
		body:       map[string]string{"auth_code": p.code.Token.Reveal()},
		secrets:    []string{p.code.Token.Reveal(), p.suiteToken.Reveal()},
		sendBefore: p.sendBefore,
		once:       true,
	})
	if failure == nil {
		corpID, err := corpOf(a)
		if err != nil {
			return errors.Join(err, s.release(ctx, name, p.fence))
		}
		return s.keep(running, name, corpID, p, coordinator.NewToken(a.value))
	}
	switch failure.Kind {
	case coordinator.FailedGrant:
		s.log.Warn("WeCom does not take an auth_code", "error", failure)
		return cmp.Or(s.refuse(ctx, name, p), errWaits)
	case coordinator.FailedParent:
		_, err := s.config.Account.Invalidate(ctx, p.suiteToken)
		return errors.Join(failure, err, s.release(ctx, name, p.fence))
	case coordinator.FailedRefused:
		s.pauseFor(refusedPause)
	default:
		s.pauseFor(max(failure.RetryIn, busyPause))
	}
	return errors.Join(failure, s.release(ctx, name, p.fence))
}

// corpOf returns the corp that an answer to get_permanent_code is about.
func corpOf(a answer) (string, error) {
	var info struct {
		CorpID json.RawMessage `json:"corpid"`
	}
	if json.Unmarshal(a.members["auth_corp_info"], &info) != nil {
		return "", errNoCorp
	}
	corpID, _ := source.Text(info.CorpID)
	if coordinator.ValidateName(corpID) != nil {
		return "", errNoCorp
	}
	return corpID, nil
}

// keep stores the permanent code in place of the auth_code, and hands it on. It repeats
// that until the store confirms it; once running has ended, for 10 seconds at most.
func (s *Suite) keep(running context.Context, name, corpID string, p presentation, code coordinator.Token) error {
	ctx := context.WithoutCancel(running)
	answer := coordinator.GrantAnswer{Account: name, Fence: p.fence, Parent: p.code.Fence, Token: code, Form: exchangedForm(corpID, p.code.At)}
	s.spool(answer)
	for begun := time.Now(); ; time.Sleep(storeEvery) {
		stored, err := s.keepOnce(ctx, answer, corpID, p.code.At)
		switch {
		case err == nil:
			s.unspool(name, p.fence)
			return nil
		case stored:
			return err // the next to settle the pending grant adopts it
		case running.Err() != nil && time.Since(begun) > storeFor:
			return fmt.Errorf("the permanent code of %s cannot be stored: %w", corpID, err)
		}
	}
}

// keepOnce is one try, which takes 10 seconds at most. stored says that the pending grant
// has the permanent code: it has not if it was given up, or is gone.
func (s *Suite) keepOnce(ctx context.Context, answer coordinator.GrantAnswer, corpID string, at time.Time) (stored bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeFor)
	defer cancel()
	err = s.changePending(ctx, answer.Account, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		changed := false
		if g.Version > 0 { // else it would be a grant that nobody settles
			g, changed = g.Keep(answer, now)
		}
		stored = newest(g).Token.Equal(answer.Token)
		return g, changed
	})
	if err != nil && !errors.Is(err, coordinator.ErrNotCopied) {
		return false, err
	}
	return stored, s.adopt(ctx, answer.Account, corpID, answer.Token, at)
}

// readSpool gives the permanent codes that a process has left in the spool to the accounts of
// their corps, whatever became of the auth_codes: that may have been long ago.
func (s *Suite) readSpool(ctx context.Context) {
	if s.config.Spool == nil {
		return
	}
	answers, err := s.config.Spool.Answers()
	if err != nil {
		s.log.Error("the spool cannot be read: permanent codes in it are not stored", "error", err)
	}
	for _, answer := range answers {
		corpID, at, ok := parseForm(answer.Form)
		if !ok || !s.isPending(answer.Account) {
			continue
		}
		if err := s.adopt(ctx, answer.Account, corpID, answer.Token, at); err != nil {
			s.log.Error("a permanent code in the spool is not stored yet", "error", err)
			continue
		}
		s.unspool(answer.Account, answer.Fence)
	}
}

func (s *Suite) spool(answer coordinator.GrantAnswer) {
	if s.config.Spool == nil {
		return
	}
	if err := s.config.Spool.Write(answer); err != nil {
		s.log.Error("a permanent code cannot be written to the spool", "error", err)
	}
}

func (s *Suite) unspool(name string, fence coordinator.Fence) {
	if s.config.Spool == nil {
		return
	}
	if err := s.config.Spool.Remove(name, fence); err != nil {
		s.log.Warn("the spool cannot be emptied", "error", err)
	}
}

// adopt gives a permanent code to the account of its corp, unless a later event has
// replaced it. It takes 10 seconds at most.
func (s *Suite) adopt(ctx context.Context, name, corpID string, code coordinator.Token, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, storeFor)
	defer cancel()
	account := s.AccountName(corpID)
	member, err := s.consent(ctx, account, code, at)
	if err != nil {
		return err
	}
	if member {
		s.log.Info("a corp has installed the suite, or its permanent code was reset", "corp", corpID, "member", account)
	} else {
		s.log.Info("a corp has removed the suite again before its permanent code was stored", "corp", corpID, "member", account)
	}
	return s.forget(ctx, name)
}

// giveUp forgets an auth_code that cannot be exchanged any more.
func (s *Suite) giveUp(ctx context.Context, name string, g coordinator.Grant) error {
	if len(g.Presentations) > 0 {
		s.log.Error("the answer to the exchange of an auth_code was not stored: the corp has to install the suite again, unless a process that is down has it in its spool")
	} else {
		s.log.Error("an auth_code could not be exchanged: the corp has to install the suite again")
	}
	return s.forget(ctx, name)
}

// forget withdraws a pending grant. Its record stays for a while, so that an event that
// comes again is known.
func (s *Suite) forget(ctx context.Context, name string) error {
	return s.changePending(ctx, name, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		return g.Consented(coordinator.Consent{}, now), len(g.Tokens) > 0
	})
}

// rememberFor is how long a pending grant that is done with stays.
const rememberFor = 2 * authCodeLife

// drop removes a pending grant that was withdrawn long ago.
func (s *Suite) drop(ctx context.Context, name string, r coordinator.GrantReading) error {
	if r.Grant.Version > 0 && r.Now.Sub(r.Grant.ObtainedAt) < rememberFor {
		s.lookAgain(name, rememberFor)
		return nil
	}
	if err := s.config.Account.SetMember(ctx, name, false); err != nil {
		return err
	}
	return s.config.Grants.DropGrant(ctx, name, r.Grant)
}

// lookAgain has nothing done about a pending grant for a while.
func (s *Suite) lookAgain(name string, in time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rests[name] = time.Now().Add(in)
}

// rest reports whether there is nothing to do about a pending grant for now.
func (s *Suite) rest(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.rests[name]
	if ok && !time.Now().Before(until) {
		delete(s.rests, name)
		ok = false
	}
	return ok
}

// refuse says that WeCom does not take an auth_code. The answer to another exchange of
// it may have been a permanent code: that one is still kept.
func (s *Suite) refuse(ctx context.Context, name string, p presentation) error {
	return s.changePending(ctx, name, func(g coordinator.Grant, _ time.Time) (coordinator.Grant, bool) {
		return g.Refuse(p.fence, p.code.Fence, "")
	})
}

// release takes back a mark: no answer will come. If the auth_code was used up, WeCom says
// so the next time.
func (s *Suite) release(ctx context.Context, name string, fence coordinator.Fence) error {
	return s.changePending(ctx, name, func(g coordinator.Grant, _ time.Time) (coordinator.Grant, bool) { return g.Withdraw(fence) })
}

func (s *Suite) paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.pause)
}

func (s *Suite) pauseFor(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = time.Now().Add(d)
}
