package wechattest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// request is one call, in process or over HTTP.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	chunked      bool // the body came without a Content-Length
	host         string
	from         string // the address it came from, without a port
	remote       string // the same with the port, "" in process
	userAgent    string
	gone         <-chan struct{} // closed when the caller gives up
	released     <-chan struct{} // closed to end the waits of the call

	appID string // as far as it is known before the call is carried out
	call  *Call  // the record; nil for other endpoints
	rid   string
	now   time.Time
}

// issues reports whether the call asks for a token.
func (r *request) issues() bool {
	return r.path == pathToken || r.path == pathStable
}

// recorded reports whether the history has the call.
func (r *request) recorded() bool {
	return r.issues() || r.path == pathTicket || strings.HasPrefix(r.path, componentPrefix)
}

// member is the name that the token, or the ticket, has in the answer.
func (r *request) member() string {
	switch r.path {
	case pathTicket:
		return "ticket"
	case pathComponentToken:
		return "component_access_token"
	case pathAuthorizerToken:
		return "authorizer_access_token"
	case pathQueryAuth:
		return "authorization_info"
	}
	return "access_token"
}

// reply is the answer to a call.
type reply struct {
	drop    drop
	status  int
	header  http.Header
	body    []byte
	code    int  // its errcode
	cut     bool // the connection breaks in the middle of the body
	damaged bool // changed by a fault
}

// drop is how a call ends without an answer.
type drop int

const (
	answered  drop = iota
	dropDial       // no connection was made
	dropReset      // the connection broke
)

// handle carries out a call with its faults. It returns at the latest when the
// injected delays have passed, the caller is gone or the server is closed.
func (s *Server) handle(r *request) reply {
	r.appID = r.account()
	faults, latency, down := s.arrive(r)
	if down {
		return reply{drop: dropDial}
	}
	r.wait(latency)
	for _, f := range faults {
		if f.phase() != Before {
			continue
		}
		if f.Kind == FaultSlow {
			r.wait(time.Duration(f.Delay))
			continue
		}
		return s.leave(r, s.spoil(r, f, s.blank(r)))
	}
	out := s.carryOut(r)
	for _, f := range faults {
		if f.phase() != After {
			continue
		}
		if f.Kind == FaultSlow {
			r.wait(time.Duration(f.Delay))
			continue
		}
		out = s.spoil(r, f, out)
	}
	return s.leave(r, out)
}

// arrive records the call and decides which faults affect it.
func (s *Server) arrive(r *request) (faults []Fault, latency time.Duration, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.released = s.released
	if s.down[r.host] {
		return nil, 0, true
	}
	if i, ok := s.byHash[hashOf(r.query.Get("access_token"))]; ok {
		r.appID = i.AppID
	}
	faults = s.strikeLocked(r)
	for _, f := range faults {
		if f.Kind == FaultDial {
			return nil, 0, true
		}
	}
	latency = s.knobs.Latency
	if s.knobs.LatencyJitter > 0 {
		latency += time.Duration(s.random.Int64N(int64(s.knobs.LatencyJitter)))
	}
	if r.recorded() {
		r.call = s.newCallLocked(r)
	}
	return faults, latency, false
}

// leave completes the record of a call and re-encodes the answer as the relay does.
func (s *Server) leave(r *request, out reply) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.relay(s.knobs.Relay)
	if r.call == nil {
		return out
	}
	r.call.Finished = s.nowLocked()
	r.call.Code = out.code
	r.call.Delivered = out.drop == answered && !out.cut && !out.damaged && !isClosed(r.gone)
	return out
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait blocks for d, or until Release. It continues when the caller goes away,
// because a server would not notice.
func (r *request) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.released:
	}
}

func (r *request) hang() {
	select {
	case <-r.gone:
	case <-r.released:
	}
}

// carryOut carries out the call without any fault.
func (s *Server) carryOut(r *request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.now = s.nowLocked()
	r.rid = s.newRID(r)
	out := s.dispatchLocked(r)
	s.rids.answered(r, out)
	return out
}

func (s *Server) dispatchLocked(r *request) reply {
	endpoint, ok := s.apis[r.path]
	switch {
	case !ok:
		return s.status(r, http.StatusNotFound)
	case r.method == http.MethodPost && r.chunked && s.knobs.ChunkedPost412:
		return s.status(r, http.StatusPreconditionFailed)
	case endpoint.method != "" && endpoint.method != r.method:
		return s.refuse(r, codeNeedPOST)
	case s.knobs.MinusOneRate > 0 && s.random.Float64() < s.knobs.MinusOneRate:
		return s.refuse(r, codeBusy)
	}
	return endpoint.handle(s, r)
}

// blank is the answer on which a fault in the phase Before is based.
func (s *Server) blank(r *request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.now = s.nowLocked()
	r.rid = s.newRID(r)
	return s.json(r, map[string]any{
		r.member(): s.randomToken(), "expires_in": int(s.knobs.TokenTTL.Seconds()), // a token that was never issued
	})
}

// spoil applies a fault to an answer.
func (s *Server) spoil(r *request, f Fault, out reply) reply {
	out.damaged = true
	switch f.Kind {
	case FaultReset, FaultHang:
		if f.Kind == FaultHang {
			r.hang()
		}
		out.drop = dropReset
	case FaultTruncated:
		out.cut = true
	case FaultErrcode:
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.Message != "" {
			return damaged(s.json(r, errorBody{f.Code, f.Message}), f.Code)
		}
		return damaged(s.refuse(r, f.Code), f.Code)
	case FaultStatus:
		out.status, out.body = f.Status, nil
	case FaultHTML:
		out.setBody(f, "text/html", "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>")
	case FaultEmpty:
		out.body = nil
	case FaultNull:
		out.body = []byte("null")
	case FaultArray:
		out.body = []byte("[]")
	case FaultCut:
		out.body = out.body[:len(out.body)/2]
	case FaultNegativeExpires:
		out.body = withField(out.body, "expires_in", -1)
	case FaultNoToken:
		out.body = withField(out.body, r.member(), "")
	case FaultBoth:
		out.body = withField(withField(out.body, "errcode", f.Code), "errmsg", f.Message)
	case FaultOversize:
		out.body = append(bytes.Repeat([]byte(" "), 1<<20), out.body...)
	case FaultBody:
		out.setBody(f, "text/plain", f.Body)
	}
	return out
}

func damaged(out reply, code int) reply {
	out.damaged, out.code = true, code
	return out
}

func (out *reply) setBody(f Fault, contentType, body string) {
	if f.Status != 0 {
		out.status = f.Status
	}
	if f.ContentType != "" {
		contentType = f.ContentType
	}
	out.header.Set("Content-Type", contentType)
	out.body = []byte(body)
}

// withField changes one field of a JSON object.
func withField(object []byte, name string, value any) []byte {
	fields := make(map[string]any)
	if json.Unmarshal(object, &fields) != nil {
		return object
	}
	fields[name] = value
	changed, err := json.Marshal(fields)
	if err != nil {
		return object
	}
	return changed
}

type errorBody struct {
	Code    int    `json:"errcode"`
	Message string `json:"errmsg"`
}

// json returns an answer with status 200 and this object. The caller holds s.mu.
func (s *Server) json(r *request, object any) reply {
	out := s.status(r, http.StatusOK)
	out.header.Set("Content-Type", s.knobs.ContentType)
	body, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("wechattest: %v", err)) // never happens: the types are the package's own
	}
	out.body = body
	return out
}

// status returns an answer without a body.
func (s *Server) status(r *request, status int) reply {
	header := http.Header{}
	// Clients compute the end of the day by it, so it is the server's clock and
	// not the machine's.
	header.Set("Date", r.now.UTC().Format(http.TimeFormat))
	return reply{status: status, header: header}
}

// refuse returns an errcode with WeChat's errmsg. The caller holds s.mu.
func (s *Server) refuse(r *request, code int) reply {
	out := s.json(r, errorBody{code, s.errmsg(r, code)})
	out.code = code
	return out
}

// account returns the AppID that a call names, "" if none.
func (r *request) account() string {
	if id := r.query.Get("appid"); id != "" {
		return id
	}
	var named struct {
		AppID     string `json:"appid"`
		Component string `json:"component_appid"`
	}
	if strings.HasPrefix(strings.TrimSpace(string(r.body)), "{") && json.Unmarshal(r.body, &named) == nil {
		return cmp.Or(named.Component, named.AppID)
	}
	return ""
}
