package wechattest

import (
	"fmt"
	"slices"
	"time"
)

// PushFaultKind is the effect of a PushFault.
type PushFaultKind string

// The kinds of faults of pushes.
const (
	PushDrop        PushFaultKind = "drop"         // the attempt does not arrive
	PushDuplicate   PushFaultKind = "duplicate"    // it arrives twice
	PushDelay       PushFaultKind = "delay"        // it is made later, by Delay
	PushReorder     PushFaultKind = "reorder"      // it is made after the component's next push
	PushSignature   PushFaultKind = "signature"    // its signature is wrong
	PushReceiver    PushFaultKind = "receiver"     // the message is for another receiver
	PushPreviousKey PushFaultKind = "previous_key" // it is encrypted with the previous key
)

// PushFault makes attempts to push events fail.
type PushFault struct {
	Kind PushFaultKind `json:"kind"`

	// Component and InfoType limit the fault; empty: to nothing.
	Component string `json:"component_appid,omitempty"`
	InfoType  string `json:"info_type,omitempty"`

	// Skip, Times and Rate are those of a Fault.
	Skip  int     `json:"skip,omitempty"`
	Times int     `json:"times,omitempty"`
	Rate  float64 `json:"rate,omitempty"`

	Delay Seconds `json:"delay,omitempty"`
}

// pushFault is a PushFault that was injected. Guarded by Server.mu.
type pushFault struct {
	PushFault
	id, struck int
}

func (f PushFault) validate() error {
	kinds := []PushFaultKind{PushDrop, PushDuplicate, PushDelay, PushReorder, PushSignature, PushReceiver, PushPreviousKey}
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("wechattest: unknown kind of fault of pushes %q; there are: %v", f.Kind, kinds)
	case f.Rate < 0 || f.Rate > 1 || f.Times < 0 || f.Skip < 0 || f.Delay < 0:
		return fmt.Errorf("wechattest: the rate must be between 0 and 1; times, skip and delay must not be negative")
	case f.Kind == PushDelay && f.Delay == 0:
		return fmt.Errorf("wechattest: a fault of the kind %s needs a delay", f.Kind)
	}
	return nil
}

func (f PushFault) postpones() bool { return f.Kind == PushDelay || f.Kind == PushReorder }

// InjectPush adds a fault of pushes and returns its number for ClearPush. The first one
// that matches an attempt takes effect.
func (s *Server) InjectPush(f PushFault) (int, error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastFault++
	s.pushFaults = append(s.pushFaults, &pushFault{PushFault: f, id: s.lastFault})
	return s.lastFault, nil
}

// ClearPush removes the faults of pushes with these numbers, or all.
func (s *Server) ClearPush(ids ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushFaults = slices.DeleteFunc(s.pushFaults, func(f *pushFault) bool {
		return len(ids) == 0 || slices.Contains(ids, f.id)
	})
}

// strikePush returns the fault that an attempt meets, and counts it as used.
func (s *Server) strikePush(p *push) PushFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.pushFaults {
		switch {
		case f.Component != "" && f.Component != p.Component, f.InfoType != "" && f.InfoType != p.InfoType:
		case f.Skip > 0:
			f.Skip--
		case f.Rate > 0 && s.random.Float64() >= f.Rate:
		default:
			f.struck++
			if f.Times > 0 && f.struck >= f.Times {
				s.pushFaults = slices.DeleteFunc(s.pushFaults, func(g *pushFault) bool { return g == f })
			}
			return f.PushFault
		}
	}
	return PushFault{}
}

// postpone puts off an attempt.
func (s *Server) postpone(p *push, f PushFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.late = true
	if f.Kind == PushReorder {
		p.to.held = append(p.to.held, p)
		return
	}
	p.due = s.nowLocked().Add(time.Duration(f.Delay))
	s.queue = append(s.queue, p)
	s.wakePushes()
}
