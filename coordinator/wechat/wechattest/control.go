package wechattest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

type controller = simulator.Controller[*Server]

func controlRoutes() map[string]controller {
	return map[string]controller{
		"GET /sandbox/state":                           (*Server).controlState,
		"GET /sandbox/knobs":                           (*Server).controlKnobs,
		"POST /sandbox/knobs":                          simulator.WithBody((*Server).controlTune),
		"PATCH /sandbox/knobs":                         simulator.WithBody((*Server).controlTune),
		"GET /sandbox/faults":                          (*Server).controlFaults,
		"POST /sandbox/faults":                         simulator.WithBody((*Server).controlInject),
		"DELETE /sandbox/faults":                       (*Server).controlClear,
		"DELETE /sandbox/faults/{id}":                  (*Server).controlClear,
		"POST /sandbox/accounts":                       simulator.WithBody((*Server).controlAdd),
		"POST /sandbox/accounts/{appid}":               simulator.WithBody((*Server).controlChange),
		"POST /sandbox/accounts/{appid}/rotate":        simulator.WithBody((*Server).controlRotate),
		"POST /sandbox/accounts/{appid}/kill":          simulator.WithBody((*Server).controlKill),
		"POST /sandbox/accounts/{appid}/rogue":         simulator.WithBody((*Server).controlRogue),
		"POST /sandbox/components":                     simulator.WithBody((*Server).controlAddComponent),
		"POST /sandbox/components/{appid}":             simulator.WithBody((*Server).controlChangeComponent),
		"GET /sandbox/components/{appid}/authorizers":  (*Server).controlAuthorizers,
		"POST /sandbox/components/{appid}/authorize":   simulator.WithBody((*Server).controlAuthorize),
		"POST /sandbox/components/{appid}/unauthorize": simulator.WithBody((*Server).controlUnauthorize),
		"POST /sandbox/components/{appid}/push":        (*Server).controlPushTicket,
		"GET /sandbox/pushes":                          since((*Server).Pushes, func(p Push) (int, string) { return p.ID, p.Component }, Push.public),
		"GET /sandbox/push-faults":                     (*Server).controlPushFaults,
		"POST /sandbox/push-faults":                    simulator.WithBody((*Server).controlInjectPush),
		"DELETE /sandbox/push-faults":                  (*Server).controlClearPush,
		"POST /sandbox/clock":                          simulator.WithBody((*Server).controlClock),
		"POST /sandbox/hosts":                          simulator.WithBody((*Server).controlHosts),
		"POST /sandbox/release":                        (*Server).controlRelease,
		"POST /sandbox/reset":                          (*Server).controlReset,
		"GET /sandbox/calls":                           since((*Server).Calls, func(c Call) (int, string) { return c.ID, c.AppID }, Call.public),
		"GET /sandbox/issued":                          since((*Server).Issued, func(i Issue) (int, string) { return i.Seq, i.AppID }, Issue.public),
		"POST /sandbox/judge":                          simulator.WithBody((*Server).controlJudge),
		"POST /sandbox/verify-signature":               simulator.WithBody((*Server).controlVerify),
	}
}

func (s *Server) controlKnobs(*http.Request) (any, error) { return s.Knobs(), nil }

func (s *Server) controlTune(_ *http.Request, body json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.Unmarshal(body, &s.knobs); err != nil {
		return nil, err
	}
	return s.knobs, nil
}

type controlFault struct {
	ID     int `json:"id"`
	Struck int `json:"struck"`
	Fault
}

func (s *Server) controlFaults(*http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faultsLocked(), nil
}

func (s *Server) faultsLocked() []controlFault {
	out := make([]controlFault, len(s.faults))
	for i, f := range s.faults {
		out[i] = controlFault{f.id, f.struck, f.Fault}
	}
	return out
}

func (s *Server) controlInject(_ *http.Request, f Fault) (any, error) {
	id, err := s.Inject(f)
	return map[string]int{"id": id}, err
}

func (s *Server) controlClear(req *http.Request) (any, error) {
	name := req.PathValue("id")
	if name == "" {
		s.Clear()
		return nil, nil
	}
	id, err := strconv.Atoi(name)
	if err != nil || !s.hasFault(id) {
		return nil, simulator.NotFound("no fault %s", name)
	}
	s.Clear(id)
	return nil, nil
}

func (s *Server) hasFault(id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.faults, func(f *fault) bool { return f.id == id })
}

func (s *Server) controlClock(_ *http.Request, q struct {
	Advance Seconds `json:"advance"`
}) (any, error) {
	s.Advance(time.Duration(q.Advance))
	return map[string]time.Time{"now": s.Now().UTC()}, nil
}

func (s *Server) controlHosts(_ *http.Request, q map[string]string) (any, error) {
	for host, state := range q {
		if state != "up" && state != "down" {
			return nil, fmt.Errorf("host %s: the state must be \"up\" or \"down\", not %q", host, state)
		}
	}
	for host, state := range q {
		if state == "down" {
			s.TakeDown(host)
		} else {
			s.BringUp(host)
		}
	}
	return nil, nil
}

func (s *Server) controlRelease(*http.Request) (any, error) { s.Release(); return nil, nil }
func (s *Server) controlReset(*http.Request) (any, error)   { s.Reset(); return nil, nil }
