package wechattest

import (
	"net"
	"net/http"
	"strconv"
	"strings"
)

// ServeHTTP implements http.Handler: it answers as WeChat does. Paths under /sandbox/
// are the control interface:
//
//	GET  /sandbox/state                       accounts, knobs, faults, hosts, the clock; no secrets
//	GET  /sandbox/knobs                       the knobs; POST or PATCH changes the named ones
//	GET  /sandbox/faults                      the faults; POST adds one (see Fault); DELETE clears them
//	DELETE /sandbox/faults/{id}               clears one
//	POST /sandbox/accounts                    {"appid","secret","product","whitelist","daily_token"}: adds one
//	POST /sandbox/accounts/{appid}            {"whitelist","frozen","banned","risk":{address:errcode}}: changes the named ones
//	POST /sandbox/accounts/{appid}/rotate     gives it a new secret and returns it
//	POST /sandbox/accounts/{appid}/kill       {"chain"}: invalidates the current token, or ticket, before it expires
//	POST /sandbox/accounts/{appid}/rogue      {"chain"}: another party fetches a token
//	POST /sandbox/clock                       {"advance":"90m"}
//	POST /sandbox/hosts                       {"api2.weixin.qq.com":"down"} or "up"
//	POST /sandbox/release                     ends hanging calls
//	POST /sandbox/reset                       see Reset
//	GET  /sandbox/calls                       calls to the token and ticket endpoints; ?after=ID&appid=
//	GET  /sandbox/issued                      issued tokens and tickets; ?after=SEQ&appid=
//	POST /sandbox/judge                       {"tokens":[...],"at":time}: whether each (or its SHA-256) was valid then
//	POST /sandbox/verify-signature            {"signature","url","noncestr","timestamp","appid","at"}, or "card":[values] for a card:
//	                                          whether WeChat would take it then, and the ticket it was made with
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.URL.Path, controlPrefix) {
		s.control.ServeHTTP(w, req)
		return
	}
	chunked := len(req.TransferEncoding) > 0
	req.Body = http.MaxBytesReader(w, req.Body, maxRequest)
	body, err := readBody(req)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	from, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		from = req.RemoteAddr
	}
	out := s.handle(&request{
		method:    req.Method,
		path:      req.URL.Path,
		query:     req.URL.Query(),
		body:      body,
		chunked:   chunked,
		host:      req.Host,
		from:      from,
		remote:    req.RemoteAddr,
		userAgent: req.UserAgent(),
		gone:      req.Context().Done(),
	})
	out.write(w)
}

// write sends the answer, or breaks the connection.
func (out reply) write(w http.ResponseWriter) {
	if out.drop != answered {
		reset(w)
	}
	for name, values := range out.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
	if out.cut {
		_, _ = w.Write(out.body[:len(out.body)/2])
		_ = http.NewResponseController(w).Flush()
		reset(w)
	}
	_, _ = w.Write(out.body) // an error means that the client has gone away
}

// reset breaks the connection, by a TCP reset where possible, and ends the handler.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}
