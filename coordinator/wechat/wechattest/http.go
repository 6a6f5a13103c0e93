package wechattest

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// Client returns an http.Client whose calls to any host go to the server, without a
// socket.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.Transport()} }

// Transport is the transport of Client.
func (s *Server) Transport() http.RoundTripper { return s.TransportFrom("127.0.0.1") }

// TransportFrom is Transport with a source address.
func (s *Server) TransportFrom(address string) http.RoundTripper {
	return simulator.Transport{Handler: s, From: address}
}

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
//	POST /sandbox/components                  {"appid","secret","whitelist","token","encoding_aes_key","previous_encoding_aes_key","url","stopped"}
//	POST /sandbox/components/{appid}          {"url","encoding_aes_key","stopped","whitelist"}: changes the named ones; the key before becomes the previous one
//	GET  /sandbox/components/{appid}/authorizers     accounts that have authorized it; no secrets
//	POST /sandbox/components/{appid}/authorize       {"appid"}: an account authorizes it, for the first time or again
//	POST /sandbox/components/{appid}/unauthorize     {"appid"}
//	POST /sandbox/components/{appid}/push            pushes a verify ticket
//	GET  /sandbox/pushes                      pushed events; ?after=ID&appid=
//	GET  /sandbox/push-faults                 the faults of pushes; POST adds one (see PushFault); DELETE clears them
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
	if strings.HasPrefix(req.URL.Path, simulator.ControlPrefix) {
		s.control.ServeHTTP(w, req)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, simulator.MaxRequest))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	from, remote := req.RemoteAddr, "" // in process, there is no port
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		from, remote = host, req.RemoteAddr
	}
	out := s.handle(&request{
		method:    req.Method,
		path:      req.URL.Path,
		query:     req.URL.Query(),
		body:      body,
		chunked:   len(req.TransferEncoding) > 0,
		host:      req.Host,
		from:      from,
		remote:    remote,
		userAgent: req.UserAgent(),
		gone:      req.Context().Done(),
	})
	out.write(w)
}

// write sends the answer, or breaks the connection.
func (out reply) write(w http.ResponseWriter) {
	switch out.drop {
	case dropDial:
		simulator.Refuse(w)
	case dropReset:
		simulator.Reset(w)
	case answered:
	}
	for name, values := range out.header {
		w.Header()[name] = values
	}
	if out.cut {
		simulator.Truncate(w, out.status, out.body)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body) // an error means that the client has gone away
}
