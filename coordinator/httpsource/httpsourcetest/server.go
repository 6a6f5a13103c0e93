package httpsourcetest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// Config describes a Server.
type Config struct {
	Wire Wire

	// Parameters are the account's, secrets among them; nil: those of the Wire.
	Parameters map[string]string

	// ParentLives reports whether a token of the parent account is valid; nil: none is.
	ParentLives func(token string) bool
}

// Server plays one issuer with one account. It is an http.Handler whose time is
// time.Now, and safe for concurrent use.
type Server struct {
	config Config
	expect expectation
	values map[string]string

	mu         sync.Mutex
	knobs      Knobs
	tokens     []*token // oldest first
	calls      []time.Time
	faults     []Fault
	complaints []string
}

// token is one that was issued.
type token struct {
	value string
	ends  time.Time
}

// Fault is what happens to one call for a token instead of, or after, the answer.
type Fault struct {
	Reply          // instead of the answer
	Issue     bool // a token is issued all the same, as by a gateway that breaks the answer
	Cut       bool // the connection is closed without an answer
	Transform func(body string) string
}

// New returns an issuer that has issued nothing.
func New(c Config) *Server {
	s := &Server{config: c, expect: parseRequest(c.Wire.Request), values: c.Parameters, knobs: c.Wire.Knobs}
	if s.values == nil {
		s.values = c.Wire.Parameters
	}
	return s
}

// Tune changes the knobs.
func (s *Server) Tune(change func(k *Knobs)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.knobs)
}

// Inject lets faults happen to the next calls for a token, in this order.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Calls returns how many calls for a token there were, good or bad.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// Issued returns the tokens in the order in which they were issued.
func (s *Server) Issued() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var values []string
	for _, t := range s.tokens {
		values = append(values, t.value)
	}
	return values
}

// Complaints returns how requests differed from what is documented.
func (s *Server) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.complaints...)
}

// Valid reports whether a token is accepted by business calls.
func (s *Server) Valid(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.value == value {
			return time.Now().Before(t.ends)
		}
	}
	return false
}

// Revoke ends all tokens at once.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.ends = time.Now()
	}
}

// ServeHTTP answers calls for tokens at the Wire's path, and business calls elsewhere.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if r.URL.Path == s.expect.path(s.values) {
		s.serveToken(w, r)
		return
	}
	s.serveBusiness(w, r)
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.calls = append(s.calls, now)
	verdict := s.expect.judge(r, s.values, now, s.config.ParentLives)
	switch {
	case verdict.complaint != "":
		s.complaints = append(s.complaints, verdict.complaint)
		reply(w, Reply{http.StatusBadRequest, "complaint: " + verdict.complaint})
		return
	case s.limited(now):
		reply(w, s.knobs.Limited)
		return
	case verdict.parent:
		reply(w, s.config.Wire.Parent)
		return
	case verdict.refused:
		reply(w, s.config.Wire.Refused)
		return
	}
	var fault Fault
	if len(s.faults) > 0 {
		fault, s.faults = s.faults[0], s.faults[1:]
		if !fault.Issue && fault.Transform == nil {
			s.answer(w, fault, fault.Body)
			return
		}
	}
	issued := s.issue(now)
	s.answer(w, fault, s.text(issued, now))
}

// answer answers a call for a token.
func (s *Server) answer(w http.ResponseWriter, fault Fault, body string) {
	switch {
	case fault.Cut:
		panic(http.ErrAbortHandler)
	case fault.Body != "":
		body = fault.Body
	case fault.Transform != nil:
		body = fault.Transform(body)
	}
	reply(w, Reply{max(fault.Status, http.StatusOK), body})
}

// limited reports whether a call is one too many.
func (s *Server) limited(now time.Time) bool {
	if s.knobs.Calls == 0 {
		return false
	}
	recent := 0
	for _, at := range s.calls {
		if now.Sub(at) < s.knobs.Window {
			recent++
		}
	}
	return recent > s.knobs.Calls
}

// issue returns the token that a call brings.
func (s *Server) issue(now time.Time) *token {
	if s.knobs.Repeat == coordinator.RepeatSame && len(s.tokens) > 0 {
		if newest := s.tokens[len(s.tokens)-1]; newest.ends.Sub(now) > s.knobs.Rollover {
			if s.knobs.Extends {
				newest.ends = now.Add(s.knobs.Life)
			}
			return newest
		}
	}
	for n, t := range s.tokens {
		if s.knobs.Repeat == coordinator.RepeatKills {
			t.ends = earlier(t.ends, now.Add(s.knobs.Overlap))
		}
		if s.knobs.Latest > 0 && len(s.tokens)-n >= s.knobs.Latest {
			t.ends = earlier(t.ends, now)
		}
	}
	t := &token{value: s.newValue(), ends: now.Add(s.knobs.Life)}
	s.tokens = append(s.tokens, t)
	return t
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// newValue returns a token like no other of this server.
func (s *Server) newValue() string {
	length := cmp.Or(s.knobs.Length, 64)
	value := fmt.Sprintf("%s%d-", s.knobs.Prefix, len(s.tokens)+1)
	for block := sha256.Sum256([]byte(s.config.Wire.Preset + value)); len(value) < length; block = sha256.Sum256(block[:]) {
		value += hex.EncodeToString(block[:])
	}
	return value[:length]
}

// text is the body of a good answer.
func (s *Server) text(t *token, now time.Time) string {
	life := t.ends.Sub(now)
	if s.knobs.FullLife {
		life = s.knobs.Life
	}
	return fill(s.config.Wire.Answer, map[string]string{
		"token":   strings.ReplaceAll(t.value, "/", `\/`),
		"life":    strconv.Itoa(int(life.Seconds())),
		"ends_ms": strconv.FormatInt(now.Add(life).UnixMilli(), 10),
		"now_ms":  strconv.FormatInt(now.UnixMilli(), 10),
	})
}

// serveBusiness answers a business call by whether its token is valid.
func (s *Server) serveBusiness(w http.ResponseWriter, r *http.Request) {
	use := s.config.Wire.Use
	if use == "" {
		http.NotFound(w, r)
		return
	}
	var sent, template string
	if name, found := strings.CutPrefix(use, "?"); found {
		name, template, _ = strings.Cut(name, "=")
		sent = r.URL.Query().Get(name)
	} else {
		var name string
		name, template, _ = strings.Cut(use, ": ")
		sent = r.Header.Get(name)
	}
	before, after, _ := strings.Cut(template, "{token}")
	value, begins := strings.CutPrefix(sent, before)
	value, ends := strings.CutSuffix(value, after)
	if !begins || !ends || !s.Valid(value) {
		reply(w, s.config.Wire.Rejected)
		return
	}
	reply(w, Reply{http.StatusOK, `{"data":"business"}`})
}

func reply(w http.ResponseWriter, r Reply) {
	if strings.HasPrefix(r.Body, "<") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(max(r.Status, http.StatusOK))
	_, _ = w.Write([]byte(r.Body))
}

// Transport is an http.RoundTripper that reaches the server without a network, as
// virtual time needs it.
func (s *Server) Transport() http.RoundTripper {
	return simulator.Transport{Handler: s, From: "192.0.2.1"}
}
