package wecomtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// controlPrefix begins the paths of the control interface, and no path of WeCom's.
const controlPrefix = "/sandbox/"

// controller carries out one kind of control request. What it returns is sent as JSON;
// nil is an empty object.
type controller func(s *Server, suiteID string, q controlRequest) (any, error)

// controlRequest is the body of a control request.
type controlRequest struct {
	CorpID string `json:"corpid"`

	// Of a fault of pushes; see PushFault.
	InfoType       string  `json:"info_type"`
	Times          int     `json:"times"`
	ForSeconds     float64 `json:"for_s"`
	DelaySeconds   float64 `json:"delay_s"`
	Drop           bool    `json:"drop"`
	Reorder        bool    `json:"reorder"`
	Duplicate      bool    `json:"duplicate"`
	PreviousKey    bool    `json:"previous_key"`
	WrongSignature bool    `json:"wrong_signature"`
	WrongReceiver  bool    `json:"wrong_receiver"`
}

func controlRoutes() map[string]controller {
	return map[string]controller{
		"GET /sandbox/suites/{suite}/corps": func(s *Server, suiteID string, _ controlRequest) (any, error) {
			return s.controlCorps(suiteID), nil
		},
		"GET /sandbox/suites/{suite}/pushes": func(s *Server, suiteID string, _ controlRequest) (any, error) {
			return s.controlPushes(suiteID), nil
		},
		"POST /sandbox/suites/{suite}/ticket": func(s *Server, suiteID string, _ controlRequest) (any, error) {
			_, err := s.PushTicket(suiteID)
			return nil, err
		},
		"POST /sandbox/suites/{suite}/install": func(s *Server, suiteID string, q controlRequest) (any, error) {
			if q.CorpID == "" {
				return nil, errors.New("corpid is missing: name the corp that installs the suite")
			}
			_, err := s.Install(suiteID, q.CorpID)
			return nil, err
		},
		"POST /sandbox/suites/{suite}/change": func(s *Server, suiteID string, q controlRequest) (any, error) {
			return nil, s.Change(suiteID, q.CorpID)
		},
		"POST /sandbox/suites/{suite}/cancel": func(s *Server, suiteID string, q controlRequest) (any, error) {
			return nil, s.Cancel(suiteID, q.CorpID)
		},
		"POST /sandbox/suites/{suite}/reset": func(s *Server, suiteID string, q controlRequest) (any, error) {
			_, err := s.ResetPermanentCode(suiteID, q.CorpID)
			return nil, err
		},
		"POST /sandbox/suites/{suite}/end-token": func(s *Server, suiteID string, _ controlRequest) (any, error) {
			return nil, s.EndSuiteToken(suiteID)
		},
		"POST /sandbox/suites/{suite}/faults": func(s *Server, suiteID string, q controlRequest) (any, error) {
			return nil, s.FaultPushes(suiteID, q.fault())
		},
	}
}

func (q controlRequest) fault() PushFault {
	return PushFault{
		InfoType: q.InfoType, Times: q.Times, For: seconds(q.ForSeconds), Delay: seconds(q.DelaySeconds),
		Drop: q.Drop, Reorder: q.Reorder, Duplicate: q.Duplicate,
		PreviousKey: q.PreviousKey, WrongSignature: q.WrongSignature, WrongReceiver: q.WrongReceiver,
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// newControl returns the control interface over HTTP.
func newControl(s *Server) http.Handler {
	mux := http.NewServeMux()
	requests := slices.Sorted(maps.Keys(controlRoutes()))
	for pattern, do := range controlRoutes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			var q controlRequest
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, simulator.MaxRequest))
			if err == nil && len(body) > 0 {
				err = json.Unmarshal(body, &q)
			}
			if err != nil {
				writeControl(w, http.StatusBadRequest, nil, fmt.Errorf("the body is no JSON object of the known fields: %w", err))
				return
			}
			answer, err := do(s, r.PathValue("suite"), q)
			writeControl(w, http.StatusBadRequest, answer, err)
		})
	}
	mux.HandleFunc(controlPrefix, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == controlPrefix && r.Method == http.MethodGet {
			writeControl(w, 0, map[string]any{"requests": requests}, nil)
			return
		}
		writeControl(w, http.StatusNotFound, nil, fmt.Errorf("unknown control request %s %s; the known ones are: %v", r.Method, r.URL.Path, requests))
	})
	// Web pages in a browser must not control a sandbox on localhost.
	return http.NewCrossOriginProtection().Handler(mux)
}

// writeControl answers err with status, or else answer with 200.
func writeControl(w http.ResponseWriter, status int, answer any, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(status)
		answer = map[string]string{"error": err.Error()}
	}
	if answer == nil {
		answer = struct{}{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(answer) // an error means that the client has gone away
}

// controlCorps returns who has the suite, without the codes.
func (s *Server) controlCorps(suiteID string) any {
	corps := []map[string]any{}
	for _, in := range s.Installs(suiteID) {
		corps = append(corps, map[string]any{
			"corpid": in.CorpID, "exchanged": in.PermanentCode != "", "cancelled": in.Cancelled, "since": in.Since.UTC().Format(time.RFC3339),
		})
	}
	return map[string]any{"corps": corps}
}

// controlPushes returns the pushes of a suite, without tickets and codes.
func (s *Server) controlPushes(suiteID string) any {
	pushes := []map[string]any{}
	for _, p := range s.Pushes() {
		if p.SuiteID != suiteID {
			continue
		}
		one := map[string]any{
			"at": p.At.UTC().Format(time.RFC3339), "info_type": p.InfoType, "corpid": p.CorpID, "try": p.Try,
			"status": p.Status, "answer": p.Answer, "acknowledged": p.Acknowledged,
		}
		if p.Err != nil {
			one["error"] = p.Err.Error()
		}
		pushes = append(pushes, one)
	}
	return map[string]any{"pushes": pushes}
}
