package wechattest

import (
	"encoding/hex"
	"slices"
	"time"
)

// Call is one call to a token endpoint, also one that a fault struck before
// it was carried out. Calls that found no connection are not here.
type Call struct {
	ID        int
	Path      string
	AppID     string
	From      string // the caller's address
	Remote    string // the same with the port, over HTTP
	Host      string // the host it called
	UserAgent string

	Started, Finished time.Time // Finished is zero while it lasts
	Code              int       // the errcode that was answered
	Seq               int       // the token that was answered, or that would have been; 0: none
	Minted            bool      // it was issued by this call
	Forced            bool      // force_refresh
	Delivered         bool      // the answer was given out undamaged; false for an injected error, too
}

func (s *Server) recordLocked(r *request) { r.call = s.newCallLocked(r) }

func (s *Server) newCallLocked(r *request) *Call {
	s.lastCall++
	c := &Call{
		ID: s.lastCall, Path: r.path, AppID: r.appID, From: r.from, Remote: r.remote, Host: r.host, UserAgent: r.userAgent,
		Started: s.nowLocked(),
	}
	s.calls = append(s.calls, c)
	s.trimLocked()
	return c
}

// snapshot is the Issue as it stands. Needs Server.mu.
func (i *issued) snapshot() Issue {
	out := i.Issue
	out.Started, out.Finished, out.Delivered = i.call.Started, i.call.Finished, i.call.Delivered
	return out
}

// Calls returns the calls to the token endpoints, the oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, len(s.calls))
	for i, c := range s.calls {
		out[i] = *c
	}
	return out
}

// Issued returns the tokens that were issued, in order.
func (s *Server) Issued() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Issue, len(s.issues))
	for n, i := range s.issues {
		out[n] = i.snapshot()
	}
	return out
}

// LastIssued returns the token that was issued last for an account, by either
// way.
func (s *Server) LastIssued(appID string) (Issue, bool) {
	return s.last(func(i *issued) bool { return i.AppID == appID })
}

// LastIssuedOn is LastIssued for one chain.
func (s *Server) LastIssuedOn(appID string, c Chain) (Issue, bool) {
	return s.last(func(i *issued) bool { return i.AppID == appID && i.Chain == c })
}

func (s *Server) last(is func(*issued) bool) (Issue, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range slices.Backward(s.issues) {
		if is(i) {
			return i.snapshot(), true
		}
	}
	return Issue{}, false
}

// Lookup returns what is known of a token, which may be given as its SHA-256
// in hexadecimal.
func (s *Server) Lookup(token string) (Issue, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findLocked(token)
	if i == nil {
		return Issue{}, false
	}
	return i.snapshot(), true
}

func (s *Server) findLocked(token string) *issued {
	if i, ok := s.byHash[hashOf(token)]; ok {
		return i
	}
	var h tokenHash
	if n, err := hex.Decode(h[:], []byte(token[:min(len(token), 2*len(h))])); err != nil || n != len(h) || len(token) != 2*len(h) {
		return nil
	}
	return s.byHash[h]
}

// Accepts reports whether the server accepts (or accepted) a token at an
// instant of its clock. Injected faults and false 40001s do not count.
func (s *Server) Accepts(token string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findLocked(token)
	return i != nil && i.accepted(at)
}

func (i *issued) accepted(at time.Time) bool {
	return !at.Before(i.usableFrom) && at.Before(i.DiesAt)
}

// DeadSince returns the instant from which a token is not accepted, as far as
// it is known; it may lie ahead. False: the server never issued the token, or
// has forgotten it.
func (s *Server) DeadSince(token string) (time.Time, bool) {
	i, ok := s.Lookup(token)
	return i.DiesAt, ok
}
