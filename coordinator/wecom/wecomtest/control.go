package wecomtest

import (
	"fmt"
	"slices"
	"time"
)

// change calls do with an app while holding the server's lock.
func (s *Server) change(corpID, name string, do func(*app)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.corps[corpID]
	if c == nil || c.apps[name] == nil {
		return fmt.Errorf("wecomtest: no app %q in corp %q", name, corpID)
	}
	do(c.apps[name])
	return nil
}

// SetSecret gives an app another secret, as its reset in the console does.
func (s *Server) SetSecret(corpID, name, secret string) error {
	return s.change(corpID, name, func(a *app) {
		a.Secret = secret
		if s.knobs.ResetKills {
			s.end(&a.token)
		}
	})
}

// SetDisabled disables or enables an app. Disabled, its gettoken gets 50003.
func (s *Server) SetDisabled(corpID, name string, disabled bool) error {
	return s.change(corpID, name, func(a *app) { a.disabled = disabled })
}

// SetTrusted replaces the addresses from which business calls may come; nil: all.
func (s *Server) SetTrusted(corpID, name string, addresses []string) error {
	return s.change(corpID, name, func(a *app) { a.Trusted = slices.Clone(addresses) })
}

// EndToken ends an app's token early, as WeCom may for reasons of its own: the next
// gettoken answers a new one.
func (s *Server) EndToken(corpID, name string) error {
	return s.change(corpID, name, func(a *app) { s.end(&a.token) })
}

// EndTicket ends the ticket of a corp (name "") or of an app early.
func (s *Server) EndTicket(corpID, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.corps[corpID]
	switch {
	case c != nil && name == "":
		s.end(&c.ticket)
	case c != nil && c.apps[name] != nil:
		s.end(&c.apps[name].ticket)
	default:
		return fmt.Errorf("wecomtest: no app %q in corp %q", name, corpID)
	}
	return nil
}

// EndProviderToken ends a provider's token early.
func (s *Server) EndProviderToken(corpID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.corps[corpID]
	if c == nil {
		return fmt.Errorf("wecomtest: no corp %q", corpID)
	}
	s.end(&c.provider)
	return nil
}

// end ends a value now. The caller holds mu.
func (s *Server) end(held **Issue) {
	if now := s.now(); *held != nil && now.Before((*held).DiesAt) {
		(*held).DiesAt = now
	}
	*held = nil
}

// Lookup returns a value's Issue; ok is false for one that the server never issued.
func (s *Server) Lookup(value string) (issue Issue, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.byValue[value]
	if !ok {
		return Issue{}, false
	}
	return *i, true
}

// Valid reports whether a value is accepted now.
func (s *Server) Valid(value string) bool {
	i, ok := s.Lookup(value)
	return ok && s.Now().Before(i.DiesAt)
}

// Issued returns all values that were issued, the oldest first.
func (s *Server) Issued() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	issues := make([]Issue, 0, len(s.issues))
	for _, i := range s.issues {
		issues = append(issues, *i)
	}
	return issues
}

// Calls returns all calls, the oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// BlockedUntil returns until when an address is blocked, and false if it is not.
func (s *Server) BlockedUntil(address string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.blocked[address]
	return until, s.now().Before(until)
}

// OnCall has do called for each call that was carried out, before it is answered; nil: no
// more. do must not call methods of the server.
func (s *Server) OnCall(do func(path string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCall = do
}

// Fault makes calls fail. The first whose Path matches is used up first.
type Fault struct {
	Path  string // of the calls; "": all
	Times int    // how many; 0: one

	Code    int    // an errcode, with Message or WeCom's own text
	Message string // of Code
	Status  int    // an HTTP status, with Body
	Body    string // an answer instead of WeCom's
	Dial    bool   // no connection is made; in process only, else as Reset
	Reset   bool   // the call is carried out, and the connection breaks before the answer
	Cut     int    // the call is carried out, and the answer lacks so many bytes at its end
}

// Inject adds a fault.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = max(f.Times, 1)
	s.faults = append(s.faults, f)
}

// fault takes the next fault for a call; nil if there is none. The caller holds mu.
func (s *Server) fault(path string) *Fault {
	for i := range s.faults {
		f := s.faults[i]
		if f.Path != "" && f.Path != path {
			continue
		}
		if s.faults[i].Times--; s.faults[i].Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return &f
	}
	return nil
}
