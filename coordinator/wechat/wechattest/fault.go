package wechattest

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// FaultKind is the effect of a fault.
type FaultKind string

// The kinds of fault. The first group is about the connection, the second about the
// answer.
const (
	FaultDial      FaultKind = "dial"      // no connection (over HTTP: closed without an answer); never carried out
	FaultReset     FaultKind = "reset"     // the connection breaks
	FaultHang      FaultKind = "hang"      // no answer until the client gives up
	FaultSlow      FaultKind = "slow"      // the answer is delayed by Delay; the call continues even if the client gives up
	FaultTruncated FaultKind = "truncated" // the connection breaks in the middle of the answer

	FaultErrcode         FaultKind = "errcode"          // Code, with Message or else WeChat's own errmsg
	FaultStatus          FaultKind = "status"           // HTTP status Status with an empty body
	FaultHTML            FaultKind = "html"             // an HTML page, with Status if set
	FaultEmpty           FaultKind = "empty"            // status 200 with an empty body
	FaultNull            FaultKind = "null"             // the JSON value null
	FaultArray           FaultKind = "array"            // the JSON value []
	FaultCut             FaultKind = "cut"              // half of the JSON, with a matching Content-Length
	FaultNegativeExpires FaultKind = "negative_expires" // expires_in is -1
	FaultNoToken         FaultKind = "no_token"         // an empty access_token
	FaultBoth            FaultKind = "both"             // a token and the errcode Code
	FaultOversize        FaultKind = "oversize"         // a megabyte of spaces before the answer
	FaultBody            FaultKind = "body"             // Body, with Status and ContentType if set
)

// Phase is when a fault takes effect.
type Phase string

// The phases.
const (
	Before Phase = "before" // the call is not carried out (FaultSlow: it is, later)
	After  Phase = "after"  // the call is carried out, but the token that it issues is lost
)

// Fault makes calls fail.
type Fault struct {
	Kind FaultKind `json:"kind"`

	// Phase is After if empty, but Before for FaultErrcode, FaultDial, FaultStatus
	// and FaultSlow.
	Phase Phase `json:"phase,omitempty"`

	// Path, AppID and Host limit the fault to calls of a path ("*": every
	// one; empty: the two token endpoints), an account, a host.
	Path  string `json:"path,omitempty"`
	AppID string `json:"appid,omitempty"`
	Host  string `json:"host,omitempty"`

	// Skip is how many matching calls pass first. Times is how many calls the fault
	// then affects; 0 means all until it is cleared. Rate is the fraction of calls
	// that it affects; 0 means all.
	Skip  int     `json:"skip,omitempty"`
	Times int     `json:"times,omitempty"`
	Rate  float64 `json:"rate,omitempty"`

	Delay       Seconds `json:"delay,omitempty"`
	Code        int     `json:"code,omitempty"`
	Message     string  `json:"message,omitempty"`
	Status      int     `json:"status,omitempty"`
	Body        string  `json:"body,omitempty"`
	ContentType string  `json:"content_type,omitempty"`
}

// Seconds is a duration that is written in JSON as "90s" or as a number of seconds.
type Seconds time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	d, err := parseDuration(data)
	*s = Seconds(d)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (s Seconds) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// fault is a Fault that was injected. Guarded by Server.mu.
type fault struct {
	id int
	Fault
	struck int
}

func (f Fault) validate() error {
	kinds := []FaultKind{
		FaultDial, FaultReset, FaultHang, FaultSlow, FaultTruncated, FaultErrcode, FaultStatus, FaultHTML, FaultEmpty,
		FaultNull, FaultArray, FaultCut, FaultNegativeExpires, FaultNoToken, FaultBoth, FaultOversize, FaultBody,
	}
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("unknown kind of fault %q; there are: %v", f.Kind, kinds)
	case f.Phase != "" && f.Phase != Before && f.Phase != After:
		return fmt.Errorf("the phase %q is neither %q nor %q", f.Phase, Before, After)
	case f.Kind == FaultDial && f.Phase == After:
		return errors.New("a call that finds no connection is never carried out")
	case f.Rate < 0 || f.Rate > 1:
		return errors.New("the rate must be between 0 and 1")
	case f.Times < 0 || f.Skip < 0 || f.Delay < 0:
		return errors.New("times, skip and delay must not be negative")
	case f.Kind == FaultSlow && f.Delay == 0:
		return errors.New("a slow fault needs a delay")
	case (f.Kind == FaultErrcode || f.Kind == FaultBoth) && f.Code == 0:
		return fmt.Errorf("a fault of the kind %s needs a code", f.Kind)
	case f.Kind == FaultStatus && f.Status == 0:
		return errors.New("a status fault needs a status")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return errors.New("the status must be between 200 and 599")
	}
	return nil
}

func (f Fault) phase() Phase {
	switch {
	case f.Phase != "":
		return f.Phase
	case f.Kind == FaultErrcode, f.Kind == FaultDial, f.Kind == FaultStatus, f.Kind == FaultSlow:
		return Before
	default:
		return After
	}
}

func (f Fault) matches(r *request) bool {
	switch {
	case f.Path == "" && !r.issues(), f.Path != "" && f.Path != "*" && f.Path != r.path:
		return false
	case f.AppID != "" && f.AppID != r.appID:
		return false
	case f.Host != "" && f.Host != r.host:
		return false
	}
	return true
}

// Inject adds a fault and returns its number for Clear. If several match a call, all
// take effect, in the order in which they were injected.
func (s *Server) Inject(f Fault) (int, error) {
	if err := f.validate(); err != nil {
		return 0, fmt.Errorf("wechattest: %w", err)
	}
	f.Phase = f.phase() // /sandbox/faults shows it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastFault++
	s.faults = append(s.faults, &fault{id: s.lastFault, Fault: f})
	return s.lastFault, nil
}

// Clear removes the faults with these numbers, or all. It does not end calls that
// are hanging because of one; see Release.
func (s *Server) Clear(ids ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(f *fault) bool {
		return len(ids) == 0 || slices.Contains(ids, f.id)
	})
}

// strike returns the faults that affect this call, and counts them as used.
func (s *Server) strikeLocked(r *request) []Fault {
	var struck []Fault
	for _, f := range s.faults {
		switch {
		case !f.matches(r):
		case f.Skip > 0:
			f.Skip--
		case f.Rate > 0 && s.random.Float64() >= f.Rate:
		default:
			f.struck++
			struck = append(struck, f.Fault)
		}
	}
	s.faults = slices.DeleteFunc(s.faults, func(f *fault) bool { return f.Times > 0 && f.struck >= f.Times })
	return struck
}
