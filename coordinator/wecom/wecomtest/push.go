package wecomtest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// InfoTypes of events.
const (
	suiteTicket        = "suite_ticket"
	createAuth         = "create_auth"
	changeAuth         = "change_auth"
	cancelAuth         = "cancel_auth"
	resetPermanentCode = "reset_permanent_code"
)

const (
	tries       = 4 // of a push: the first, and three more
	againAfter  = 5 * time.Second
	overtaken   = time.Second     // how long after the push that overtakes it a reordered one is sent
	repeatAfter = 2 * time.Second // between a push and its duplicate
	wantedReply = "success"
)

// push is an event that is to be sent. Guarded by Server.mu.
type push struct {
	infoType string
	corpID   string
	value    string // the ticket or the auth_code
	madeAt   time.Time

	at       time.Time // when it is sent, unless held
	held     bool      // until another push of the suite was sent
	try      int       // how many were made
	faulty   PushFault
	oldKey   string // "": it is encrypted with the current key
	callback Callback
}

// Push is one sending of an event.
type Push struct {
	At                time.Time
	SuiteID, InfoType string
	CorpID            string // whose event it is; not in every message
	Value             string // the ticket or the auth_code
	MadeAt            time.Time
	Try               int  // 1 to 4; 0: it was dropped
	Forged            bool // with a wrong signature or receiver, on purpose

	Status       int    // of the answer; 0: there was none
	Answer       string // its beginning
	Err          error  // why there was none
	Acknowledged bool   // the answer was success, within a second
}

// PushFault makes pushes go wrong. The first whose InfoType matches is used up first.
type PushFault struct {
	InfoType string        // of the events; "": all
	Times    int           // how many events; 0: one, unless For is set
	For      time.Duration // all events within that time, instead

	Drop      bool          // it is lost
	Delay     time.Duration // it is sent later
	Reorder   bool          // it is sent after the next one; of several, every other one is
	Duplicate bool          // it is sent again though it was acknowledged

	PreviousKey    bool // it is encrypted with the key before the current one
	WrongSignature bool // its first try
	WrongReceiver  bool // its first try

	until time.Time
}

// FaultPushes adds a fault to the pushes of a suite.
func (s *Server) FaultPushes(suiteID string, f PushFault) error {
	return s.changeSuite(suiteID, func(u *suite) error {
		f.Times = max(f.Times, 1)
		if f.For > 0 {
			f.until = s.now().Add(f.For)
		}
		u.pushFaults = append(u.pushFaults, f)
		return nil
	})
}

// PushTicket pushes a new suite_ticket at once, as the button in the provider's console
// does, and returns it.
func (s *Server) PushTicket(suiteID string) (ticket string, err error) {
	err = s.changeSuite(suiteID, func(u *suite) error {
		ticket = s.newTicket(u)
		return nil
	})
	return ticket, err
}

// Pushes returns all pushes, the oldest first. One that is being sent is not among them.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pushed)
}

// newTicket makes a ticket and queues its push. The caller holds mu.
func (s *Server) newTicket(u *suite) string {
	now := s.now()
	i := &Issue{Kind: SuiteTicket, App: u.SuiteID, Value: s.randomText(ticketLength), IssuedAt: now, ExpiresAt: now.Add(s.knobs.SuiteTicketTTL)}
	i.DiesAt = i.ExpiresAt
	u.tickets = append(u.tickets, i)
	s.issues = append(s.issues, i)
	s.byValue[i.Value] = i
	if old := len(u.tickets) - 1 - s.knobs.SuiteTicketsKept; old >= 0 && now.Before(u.tickets[old].DiesAt) {
		u.tickets[old].DiesAt = now
	}
	u.nextTicket = now.Add(s.knobs.SuiteTicketEvery)
	s.enqueue(u, &push{infoType: suiteTicket, value: i.Value})
	return i.Value
}

// enqueue has a push sent by Run. The caller holds mu.
func (s *Server) enqueue(u *suite, p *push) {
	p.madeAt, p.at, p.callback = s.now(), s.now(), u.Callback
	p.faulty = s.pushFault(u, p.infoType)
	if p.faulty.Drop {
		s.pushed = append(s.pushed, Push{At: p.at, SuiteID: u.SuiteID, InfoType: p.infoType, CorpID: p.corpID, Value: p.value, MadeAt: p.madeAt})
		return
	}
	holding := slices.ContainsFunc(u.pushes, func(other *push) bool { return other.held })
	p.at, p.held = p.at.Add(p.faulty.Delay), p.faulty.Reorder && !holding
	if p.faulty.PreviousKey {
		p.oldKey = u.previousKey
	}
	u.pushes = append(u.pushes, p)
	s.wake()
}

// pushFault takes the next fault for an event. The caller holds mu.
func (s *Server) pushFault(u *suite, infoType string) PushFault {
	for i := 0; i < len(u.pushFaults); i++ {
		f := &u.pushFaults[i]
		over := !f.until.IsZero() && !s.now().Before(f.until)
		if !over && f.InfoType != "" && f.InfoType != infoType {
			continue
		}
		taken := *f
		if f.until.IsZero() {
			f.Times--
			over = f.Times == 0
		}
		expired := !taken.until.IsZero() && over
		if over {
			u.pushFaults = slices.Delete(u.pushFaults, i, i+1)
			i--
		}
		if !expired {
			return taken
		}
	}
	return PushFault{}
}

// wake has Run look at what is to be sent.
func (s *Server) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Run pushes the suites' events until ctx ends: a suite_ticket every 10 minutes, and what
// Install and its like cause. It returns when the last push under way has ended. Without
// it the server is passive.
func (s *Server) Run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	for ctx.Err() == nil {
		due, wait := s.duePushes()
		for _, d := range due {
			sending.Go(func() { s.send(ctx, d) })
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// delivery is a push that is due.
type delivery struct {
	suite *suite
	push  *push
}

// duePushes makes the tickets that are due. It returns the pushes that are due, which
// are taken out of their queues, and how long until the next.
func (s *Server) duePushes() (due []delivery, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, next := s.now(), s.now().Add(time.Hour)
	for _, id := range slices.Sorted(maps.Keys(s.suites)) {
		u := s.suites[id]
		if !now.Before(u.nextTicket) {
			s.newTicket(u)
		}
		next = earlier(next, u.nextTicket)
		u.pushes = slices.DeleteFunc(u.pushes, func(p *push) bool {
			if !p.held && !now.Before(p.at) {
				due = append(due, delivery{u, p})
				return true
			}
			if !p.held {
				next = earlier(next, p.at)
			}
			return false
		})
	}
	return due, max(next.Sub(now), time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// send makes one try of a push, and queues what follows from it.
func (s *Server) send(ctx context.Context, d delivery) {
	p := d.push
	sent := s.compose(d)
	done := Push{
		At: s.Now(), SuiteID: d.suite.SuiteID, InfoType: p.infoType, CorpID: p.corpID, Value: p.value, MadeAt: p.madeAt,
		Try: p.try + 1, Forged: sent.forged,
	}
	done.Status, done.Answer, done.Err = p.callback.post(ctx, sent, s.Knobs().PushTimeout)
	done.Acknowledged = done.Err == nil && done.Status == http.StatusOK && done.Answer == wantedReply
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	s.pushed = append(s.pushed, done)
	now := s.now()
	for _, other := range d.suite.pushes {
		if other.held {
			other.held, other.at = false, now.Add(overtaken)
		}
	}
	p.try++
	switch {
	case !done.Acknowledged && p.try < tries:
		p.at = now.Add(againAfter)
	case done.Acknowledged && p.faulty.Duplicate:
		p.faulty.Duplicate, p.at, p.try = false, now.Add(repeatAfter), 0
	default:
		return
	}
	d.suite.pushes = append(d.suite.pushes, p)
}

// compose encrypts a try of a push.
func (s *Server) compose(d delivery) sealed {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, u := d.push, d.suite
	callback, receiver := u.Callback, u.SuiteID
	p.callback = callback
	if p.oldKey != "" {
		callback.AESKey = p.oldKey
	}
	forged := p.try == 0 && (p.faulty.WrongSignature || p.faulty.WrongReceiver)
	if forged && p.faulty.WrongReceiver {
		receiver = "ww0000000000000000"
	}
	codec, err := callback.codec(receiver)
	if err != nil {
		return sealed{} // no callback: it goes nowhere
	}
	out := codec.Seal(p.message(u.SuiteID), s.now())
	if forged && p.faulty.WrongSignature {
		out.Signature = strings.Repeat("0", len(out.Signature))
	}
	return sealed{query: out.Query(), body: out.Body("ToUserName", u.SuiteID), forged: forged}
}

// message is an event in the clear.
func (p *push) message(suiteID string) []byte {
	fields := msgcrypt.Fields{"SuiteId": suiteID, "InfoType": p.infoType, "TimeStamp": strconv.FormatInt(p.madeAt.Unix(), 10)}
	own, value := "AuthCorpId", p.corpID
	switch p.infoType {
	case suiteTicket:
		own, value = "SuiteTicket", p.value
	case createAuth, resetPermanentCode:
		own, value = "AuthCode", p.value
	}
	fields[own] = value
	return fields.XML("SuiteId", "InfoType", "TimeStamp", own)
}
