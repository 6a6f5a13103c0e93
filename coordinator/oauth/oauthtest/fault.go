package oauthtest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// Fault spoils answers of the endpoints that issue tokens.
type Fault struct {
	// Kind is error (the word Error with Status), html (a page with Status), empty,
	// truncated (the answer breaks off in the middle), redirect (307 to /elsewhere),
	// drop (the connection is cut without an answer), hang (there is none until the
	// client gives up) or late (the request arrives After so long, and then the answer
	// comes at once).
	Kind string `json:"kind"`

	// Issued is set if the request is carried out all the same, and its answer lost;
	// late: if the answer takes so long, not the request. Truncated always issues.
	Issued bool `json:"issued"`

	After Duration `json:"after,omitempty"` // for late

	Error       string `json:"error,omitempty"`
	Description string `json:"description,omitempty"`
	Status      int    `json:"status,omitempty"`      // zero: 400 for error, 502 for html
	RetryAfter  string `json:"retry_after,omitempty"` // the header
	Times       int    `json:"times"`                 // how many answers; zero: 1; negative: all
}

// problem says what is wrong with f, "" if nothing is.
func (f Fault) problem() string {
	switch {
	case !slices.Contains([]string{"error", "html", "empty", "truncated", "redirect", "drop", "hang", "late"}, f.Kind):
		return fmt.Sprintf("kind: %q is unknown", f.Kind)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Sprintf("status: %d is not 200 to 599", f.Status)
	}
	return ""
}

// loses reports whether the request is not carried out.
func (f Fault) loses() bool {
	return f.Kind != "" && !f.Issued && f.Kind != "truncated"
}

// Inject adds a fault. Faults take effect in the order in which they were added.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = cmp.Or(f.Times, 1)
	s.faults = append(s.faults, f)
}

// Faults returns the faults that are still to come.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// ClearFaults removes all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault takes the next fault; its Kind is "" if there is none.
func (s *Server) fault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return Fault{}
	}
	f := s.faults[0]
	if f.Times > 0 {
		if s.faults[0].Times--; s.faults[0].Times == 0 {
			s.faults = s.faults[1:]
		}
	}
	return f
}

// carryOut spoils the answer: good is the body that would have been sent.
func (f Fault) carryOut(w http.ResponseWriter, r *http.Request, good []byte) (status int) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	status = f.Status
	switch f.Kind {
	case "html":
		status = cmp.Or(status, http.StatusBadGateway)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<html><title>Bad Gateway</title></html>"))
	case "empty":
		status = cmp.Or(status, http.StatusOK)
		w.WriteHeader(status)
	case "truncated":
		w.Header().Set("Content-Type", "application/json")
		simulator.Truncate(w, http.StatusOK, good)
	case "redirect":
		status = http.StatusTemporaryRedirect
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	case "hang":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "drop":
		panic(http.ErrAbortHandler)
	}
	return status
}
