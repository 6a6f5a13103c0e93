package oauthtest

import (
	"crypto"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// Config describes a Server.
type Config struct {
	Clients []Client
	Apps    []App

	// Audience is what the issuer calls itself. Assertions must name it or the address
	// of the token endpoint, at the host that the client called. Empty: only the latter.
	Audience string

	Knobs Knobs
}

// Client is one that may ask the token endpoint. What it has decides by which ways it
// may authenticate; one that has nothing is a public client, for which a person consents.
type Client struct {
	ID          string
	Secret      string           // basic, post
	Key         crypto.PublicKey // private_key_jwt, and JWT bearer with ID as the issuer
	Certificate []byte           // mtls: the DER of the only one that is accepted
	Scopes      []string         // those that it may ask for; empty: all
	Redirects   []string         // where codes may be sent; empty: to loopback addresses
}

// App is a GitHub App with its installation.
type App struct {
	ID           string
	Installation string
	Key          crypto.PublicKey
}

// Call is a request to an endpoint that issues tokens.
type Call struct {
	At     time.Time `json:"at"`
	Client string    `json:"client,omitempty"` // "" if the request did not get so far
	Auth   string    `json:"auth,omitempty"`   // basic, post, private_key_jwt, mtls, none
	Grant  string    `json:"grant,omitempty"`  // the grant_type
	Status int       `json:"status"`           // 0: the connection was cut
	Error  string    `json:"error,omitempty"`  // the error word
}

// Server is an issuer. Its clock is time.Now, which is virtual in synctest. It is safe
// for concurrent use.
type Server struct {
	mu       sync.Mutex // guards what follows
	clients  []Client
	apps     []App
	audience string
	knobs    Knobs
	faults   []Fault
	tokens   map[string]*token
	seen     map[string]time.Time // jti of accepted assertions, with their ends
	calls    []Call

	families      []*family
	refreshTokens map[string]*refreshToken // by value
	presentations []*Presentation
	codes         map[string]*code   // of the authorization endpoint
	devices       map[string]*device // by device code

	mux      *http.ServeMux
	requests []string // of the control interface
}

// New returns an issuer.
func New(cfg Config) *Server {
	s := &Server{
		clients: cfg.Clients, apps: cfg.Apps, audience: cfg.Audience, knobs: cfg.Knobs,
		tokens: make(map[string]*token), seen: make(map[string]time.Time), mux: http.NewServeMux(),
		refreshTokens: make(map[string]*refreshToken), codes: make(map[string]*code), devices: make(map[string]*device),
	}
	s.mux.HandleFunc("/oauth2/token", s.serveToken)
	s.mux.HandleFunc("/app/installations/{id}/access_tokens", s.serveInstallation)
	s.mux.HandleFunc("/oauth2/resource", s.serveResource)
	s.mux.HandleFunc("/oauth2/authorize", s.serveAuthorize)
	s.mux.HandleFunc("/oauth2/device", s.serveDevice)
	s.mux.HandleFunc("/oauth2/device/verify", s.serveVerify)
	s.control()
	s.controlGrants()
	slices.Sort(s.requests)
	s.mux.HandleFunc("GET /oauth2/sandbox/{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string][]string{"requests": s.requests})
	})
	return s
}

// ServeHTTP implements http.Handler. The control interface is
//
//	GET    /oauth2/sandbox/          the requests of the control interface
//	GET    /oauth2/sandbox/knobs     the knobs; PATCH changes the named ones
//	GET    /oauth2/sandbox/faults    the faults; POST adds one; DELETE clears them
//	POST   /oauth2/sandbox/clients   {"id","secret","scopes"}: adds a client, or replaces the one with its id
//	POST   /oauth2/sandbox/revoke    revokes all live tokens; ?client=ID: those of one client
//	GET    /oauth2/sandbox/calls     the calls, the oldest first
//	POST   /oauth2/sandbox/consents  {"client","scope"}: a person consents; answers {"family","refresh_token"}
//	GET    /oauth2/sandbox/families  the families with their refresh tokens; DELETE /NAME withdraws the consent
//	GET    /oauth2/sandbox/presentations  every sending of a refresh token; ?family=NAME: those of one family
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, simulator.MaxRequest)
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	s.mux.ServeHTTP(w, r)
}

// Transport returns an http.RoundTripper that calls the server without a network, for
// every host. A request whose context has ended is not sent.
func (s *Server) Transport() http.RoundTripper {
	return simulator.Transport{Handler: s, From: "192.0.2.1", Waits: true} // records a call at its end
}

// AddClient adds a client, or replaces the one with its ID.
func (s *Server) AddClient(c Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(slices.DeleteFunc(s.clients, func(old Client) bool { return old.ID == c.ID }), c)
}

// AddApp adds an App, or replaces the one with its ID.
func (s *Server) AddApp(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps = append(slices.DeleteFunc(s.apps, func(old App) bool { return old.ID == a.ID }), a)
}

// now is the issuer's clock.
func (s *Server) now() time.Time {
	return time.Now().Add(time.Duration(s.Knobs().ClockAhead))
}

// Knobs returns the knobs.
func (s *Server) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs
}

// Tune changes the knobs.
func (s *Server) Tune(change func(*Knobs)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.knobs)
}

// Calls returns the calls so far, the oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// record notes a call.
func (s *Server) record(c Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.At = time.Now()
	s.calls = append(s.calls, c)
}

// controlled adds a request of the control interface.
func (s *Server) controlled(pattern string, do http.HandlerFunc) {
	s.requests = append(s.requests, pattern)
	s.mux.HandleFunc(pattern, do)
}

// control adds the control interface.
func (s *Server) control() {
	s.controlled("GET /oauth2/sandbox/knobs", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Knobs()) })
	s.controlled("PATCH /oauth2/sandbox/knobs", func(w http.ResponseWriter, r *http.Request) {
		knobs := s.Knobs()
		if !readJSON(w, r, &knobs) {
			return
		}
		if problem := knobs.problem(); problem != "" {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": problem})
			return
		}
		s.Tune(func(k *Knobs) { *k = knobs })
		writeJSON(w, http.StatusOK, knobs)
	})
	s.controlled("GET /oauth2/sandbox/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Faults()) })
	s.controlled("POST /oauth2/sandbox/faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if !readJSON(w, r, &f) {
			return
		}
		if problem := f.problem(); problem != "" {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": problem})
			return
		}
		s.Inject(f)
		writeJSON(w, http.StatusCreated, f)
	})
	s.controlled("DELETE /oauth2/sandbox/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	s.controlled("POST /oauth2/sandbox/clients", func(w http.ResponseWriter, r *http.Request) {
		var c struct {
			ID     string   `json:"id"`
			Secret string   `json:"secret"`
			Scopes []string `json:"scopes"`
		}
		if readJSON(w, r, &c) {
			s.AddClient(Client{ID: c.ID, Secret: c.Secret, Scopes: c.Scopes})
			writeJSON(w, http.StatusCreated, map[string]string{"id": c.ID})
		}
	})
	s.controlled("POST /oauth2/sandbox/revoke", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]int{"revoked": s.Revoke(r.URL.Query().Get("client"))})
	})
	s.controlled("GET /oauth2/sandbox/calls", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Calls()) })
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // an error means that the client has gone away
}

// client returns the client with an ID. mu is held.
func (s *Server) client(id string) (Client, bool) {
	i := slices.IndexFunc(s.clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, false
	}
	return s.clients[i], true
}

// address is the endpoint as the client called it.
func address(r *http.Request) string {
	scheme := "https"
	if r.TLS == nil && r.URL.Scheme != "https" {
		scheme = "http"
	}
	return scheme + "://" + strings.ToLower(r.Host) + r.URL.Path
}
