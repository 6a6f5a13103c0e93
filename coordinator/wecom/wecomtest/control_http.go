package wecomtest

import (
	"errors"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

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

func controlRoutes() map[string]simulator.Controller[*Server] {
	return map[string]simulator.Controller[*Server]{
		"GET /sandbox/suites/{suite}/corps":  (*Server).controlCorps,
		"GET /sandbox/suites/{suite}/pushes": (*Server).controlPushes,
		"POST /sandbox/suites/{suite}/ticket": ofSuite(func(s *Server, suiteID string, _ controlRequest) error {
			_, err := s.PushTicket(suiteID)
			return err
		}),
		"POST /sandbox/suites/{suite}/install": ofSuite(func(s *Server, suiteID string, q controlRequest) error {
			if q.CorpID == "" {
				return errors.New("corpid is missing: name the corp that installs the suite")
			}
			_, err := s.Install(suiteID, q.CorpID)
			return err
		}),
		"POST /sandbox/suites/{suite}/change": ofSuite(func(s *Server, suiteID string, q controlRequest) error {
			return s.Change(suiteID, q.CorpID)
		}),
		"POST /sandbox/suites/{suite}/cancel": ofSuite(func(s *Server, suiteID string, q controlRequest) error {
			return s.Cancel(suiteID, q.CorpID)
		}),
		"POST /sandbox/suites/{suite}/reset": ofSuite(func(s *Server, suiteID string, q controlRequest) error {
			_, err := s.ResetPermanentCode(suiteID, q.CorpID)
			return err
		}),
		"POST /sandbox/suites/{suite}/end-token": ofSuite(func(s *Server, suiteID string, _ controlRequest) error {
			return s.EndSuiteToken(suiteID)
		}),
		"POST /sandbox/suites/{suite}/faults": ofSuite(func(s *Server, suiteID string, q controlRequest) error {
			return s.FaultPushes(suiteID, q.fault())
		}),
	}
}

// ofSuite returns the controller of a request that does something to the suite in its
// path.
func ofSuite(do func(s *Server, suiteID string, q controlRequest) error) simulator.Controller[*Server] {
	return simulator.WithBody(func(s *Server, req *http.Request, q controlRequest) (any, error) {
		return nil, do(s, req.PathValue("suite"), q)
	})
}

func (q controlRequest) fault() PushFault {
	return PushFault{
		InfoType: q.InfoType, Times: q.Times, For: seconds(q.ForSeconds), Delay: seconds(q.DelaySeconds),
		Drop: q.Drop, Reorder: q.Reorder, Duplicate: q.Duplicate,
		PreviousKey: q.PreviousKey, WrongSignature: q.WrongSignature, WrongReceiver: q.WrongReceiver,
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// controlCorps returns who has the suite, without the codes.
func (s *Server) controlCorps(req *http.Request) (any, error) {
	corps := []map[string]any{}
	for _, in := range s.Installs(req.PathValue("suite")) {
		corps = append(corps, map[string]any{
			"corpid": in.CorpID, "exchanged": in.PermanentCode != "", "cancelled": in.Cancelled, "since": in.Since.UTC().Format(time.RFC3339),
		})
	}
	return map[string]any{"corps": corps}, nil
}

// controlPushes returns the pushes of a suite, without tickets and codes.
func (s *Server) controlPushes(req *http.Request) (any, error) {
	pushes := []map[string]any{}
	for _, p := range s.Pushes() {
		if p.SuiteID != req.PathValue("suite") {
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
	return map[string]any{"pushes": pushes}, nil
}
