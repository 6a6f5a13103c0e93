package wechattest

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Call is one call to a token endpoint, to getticket or to an interface of platforms, including
// calls that a fault kept from being carried out. Calls without a connection are not recorded.
type Call struct {
	ID         int    `json:"id"`
	Path       string `json:"path"`
	AppID      string `json:"appid"`
	Authorizer string `json:"authorizer_appid,omitempty"` // that a call of a platform names
	From       string `json:"from"`                       // the caller's address
	Remote     string `json:"remote"`                     // the same with the port, over HTTP
	Host       string `json:"host"`                       // the host it called
	UserAgent  string `json:"user_agent"`

	Started   time.Time `json:"-"`
	Finished  time.Time `json:"-"`         // zero while the call is in progress
	Code      int       `json:"errcode"`   // that was answered
	Seq       int       `json:"seq"`       // Issue.Seq of the token in the answer, even if the answer was lost; 0: none
	Minted    bool      `json:"minted"`    // the token was issued by this call
	Forced    bool      `json:"forced"`    // force_refresh
	Delivered bool      `json:"delivered"` // the answer was sent undamaged; false also for an injected error
}

func (s *Server) newCallLocked(r *request) *Call {
	s.lastCall++
	c := &Call{
		ID: s.lastCall, Path: r.path, AppID: r.appID, From: r.from, Remote: r.remote, Host: r.host, UserAgent: r.userAgent,
		Started: s.nowLocked(),
	}
	if strings.HasPrefix(r.path, componentPrefix) {
		var named componentAsking
		_ = json.Unmarshal(r.body, &named) // a body that is not JSON names no authorizer
		c.Authorizer = named.Authorizer
	}
	s.countLocked(c)
	s.calls = append(s.calls, c)
	s.trimLocked()
	return c
}

// snapshot returns the Issue at present. The caller holds Server.mu.
func (i *issued) snapshot() Issue {
	out := i.Issue
	out.Started, out.Finished, out.Delivered = i.call.Started, i.call.Finished, i.call.Delivered
	return out
}

// Calls returns the calls that Call describes, oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, len(s.calls))
	for i, c := range s.calls {
		out[i] = *c
	}
	return out
}

// Issued returns the tokens and tickets that were issued, oldest first.
func (s *Server) Issued() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Issue, len(s.issues))
	for n, i := range s.issues {
		out[n] = i.snapshot()
	}
	return out
}

// LastIssued returns the token that was issued last for an account, on either chain of
// tokens.
func (s *Server) LastIssued(appID string) (Issue, bool) {
	return s.last(func(i *issued) bool { return i.AppID == appID && i.Chain.isToken() })
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

// Lookup finds a token by its value or by its SHA-256 in hexadecimal.
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

// Accepts reports whether a token is or was valid at an instant of the server's
// clock. It disregards injected faults and false 40001s.
func (s *Server) Accepts(token string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findLocked(token)
	return i != nil && i.accepted(at)
}

func (i *issued) accepted(at time.Time) bool {
	return !at.Before(i.usableFrom) && at.Before(i.DiesAt)
}

// DeadSince returns the instant from which a token is invalid, which may lie in the
// future and move forward when another token is issued. It returns false for a token
// that the server has not issued or no longer remembers.
func (s *Server) DeadSince(token string) (time.Time, bool) {
	i, ok := s.Lookup(token)
	return i.DiesAt, ok
}
