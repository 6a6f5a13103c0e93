package wechattest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// controlPrefix begins the paths of the control interface, and no path of WeChat's.
const controlPrefix = "/sandbox/"

// controller handles one kind of control request. What it returns is sent as JSON; nil
// is an empty object.
type controller func(*Server, *http.Request) (any, error)

func controlRoutes() map[string]controller {
	return map[string]controller{
		"GET /sandbox/state":                           (*Server).controlState,
		"GET /sandbox/knobs":                           (*Server).controlKnobs,
		"POST /sandbox/knobs":                          withBody((*Server).controlTune),
		"PATCH /sandbox/knobs":                         withBody((*Server).controlTune),
		"GET /sandbox/faults":                          (*Server).controlFaults,
		"POST /sandbox/faults":                         withBody((*Server).controlInject),
		"DELETE /sandbox/faults":                       (*Server).controlClear,
		"DELETE /sandbox/faults/{id}":                  (*Server).controlClear,
		"POST /sandbox/accounts":                       withBody((*Server).controlAdd),
		"POST /sandbox/accounts/{appid}":               withBody((*Server).controlChange),
		"POST /sandbox/accounts/{appid}/rotate":        withBody((*Server).controlRotate),
		"POST /sandbox/accounts/{appid}/kill":          withBody((*Server).controlKill),
		"POST /sandbox/accounts/{appid}/rogue":         withBody((*Server).controlRogue),
		"POST /sandbox/components":                     withBody((*Server).controlAddComponent),
		"POST /sandbox/components/{appid}":             withBody((*Server).controlChangeComponent),
		"GET /sandbox/components/{appid}/authorizers":  (*Server).controlAuthorizers,
		"POST /sandbox/components/{appid}/authorize":   withBody((*Server).controlAuthorize),
		"POST /sandbox/components/{appid}/unauthorize": withBody((*Server).controlUnauthorize),
		"POST /sandbox/components/{appid}/push":        (*Server).controlPushTicket,
		"GET /sandbox/pushes":                          since((*Server).Pushes, func(p Push) (int, string) { return p.ID, p.Component }, Push.public),
		"GET /sandbox/push-faults":                     (*Server).controlPushFaults,
		"POST /sandbox/push-faults":                    withBody((*Server).controlInjectPush),
		"DELETE /sandbox/push-faults":                  (*Server).controlClearPush,
		"POST /sandbox/clock":                          withBody((*Server).controlClock),
		"POST /sandbox/hosts":                          withBody((*Server).controlHosts),
		"POST /sandbox/release":                        (*Server).controlRelease,
		"POST /sandbox/reset":                          (*Server).controlReset,
		"GET /sandbox/calls":                           since((*Server).Calls, func(c Call) (int, string) { return c.ID, c.AppID }, Call.public),
		"GET /sandbox/issued":                          since((*Server).Issued, func(i Issue) (int, string) { return i.Seq, i.AppID }, Issue.public),
		"POST /sandbox/judge":                          withBody((*Server).controlJudge),
		"POST /sandbox/verify-signature":               withBody((*Server).controlVerify),
	}
}

func newControl(s *Server) http.Handler {
	mux := http.NewServeMux()
	for pattern, do := range controlRoutes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			answer, err := do(s, req)
			writeControl(w, answer, err)
		})
	}
	requests := slices.Sorted(maps.Keys(controlRoutes()))
	mux.HandleFunc("GET "+controlPrefix+"{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeControl(w, map[string]any{"requests": requests}, nil)
	})
	mux.HandleFunc(controlPrefix, func(w http.ResponseWriter, req *http.Request) {
		writeControl(w, nil, notFoundError{fmt.Sprintf("unknown control request %s %s; the known ones are: %v",
			req.Method, req.URL.Path, requests)})
	})
	// Web pages in a browser must not control a sandbox on localhost.
	return http.NewCrossOriginProtection().Handler(mux)
}

// notFoundError leads to status 404, any other error to 400.
type notFoundError struct{ message string }

func (e notFoundError) Error() string { return e.message }

func writeControl(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	switch {
	case errors.As(err, new(notFoundError)):
		status = http.StatusNotFound
	case err != nil:
		status = http.StatusBadRequest
	}
	if err != nil {
		answer = map[string]string{"error": err.Error()}
	}
	if answer == nil {
		answer = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(answer) // an error means that the client has gone away
}

// withBody returns a controller of a request whose body is a JSON object.
func withBody[Q any](do func(*Server, *http.Request, Q) (any, error)) controller {
	return func(s *Server, req *http.Request) (any, error) {
		var q Q
		if err := decode(req, &q); err != nil {
			return nil, err
		}
		return do(s, req, q)
	}
}

// decode reads a control request's body. Unknown names are an error; an empty body
// counts as an empty object.
func decode(req *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(req.Body, simulator.MaxRequest))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("invalid body: %w", err)
	}
	if decoder.More() {
		return errors.New("invalid body: data follows the JSON object")
	}
	return nil
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
		return nil, notFoundError{"no fault " + name}
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
