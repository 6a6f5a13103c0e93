package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Gate proves callers; *auth.Authenticator is one.
type Gate interface {
	Authenticate(ctx context.Context, from netip.Addr, name, password string) (auth.Caller, error)
}

// Probe asks an issuer about a token. Nil: it accepts the token. An error for
// which wechat.Rejected is true: it does not. Another error: not known. None
// holds the token.
type Probe func(ctx context.Context, token coordinator.Token) error

// Config is what an API is made of. Coordinator and Gate are required.
type Config struct {
	Coordinator *coordinator.Coordinator
	Gate        Gate

	// Probe returns how to ask an account's issuer whether it accepts a token,
	// nil if it cannot be asked. The drop-in then checks a token that a caller
	// asks for again, and has it replaced if it is rejected. Nil: no token is
	// checked.
	Probe func(account string) Probe

	// Events feeds /v1/events and the page. Its Observe has to be part of the
	// coordinator's Config.Observe. Nil: there are none.
	Events *events.Hub

	// History gives the page what happened before this process heard of it.
	// Nil: the page shows what Events remembers.
	History page.History

	// Label returns an account's name for people, "" if it has none. Nil: none
	// has.
	Label func(account string) string

	// Metrics answers /metrics, to callers of all accounts. Nil: 404.
	Metrics http.Handler

	// MetricsOpen lets everybody have the metrics: there is no token in them,
	// but names of accounts and how many calls are left.
	MetricsOpen bool

	// Instance and Version are shown on the page.
	Instance, Version string

	// Logger gets the audit lines: callers refused (Warn; Debug if they had
	// no credentials), each refresh that somebody forced (Info), and the
	// causes of answers that only an operator can mend (Error). Of what many
	// requests may cause it gets a few lines, then one in a while. Nil:
	// nobody does.
	Logger *slog.Logger

	// Limits bound what callers can hold open; zero fields mean
	// DefaultLimits.
	Limits Limits
}

// Limits bound what callers can make this process keep.
type Limits struct {
	// Holding is how many requests may wait at a time, of all callers.
	Holding int

	// HoldingEach is how many of them may be one caller's.
	HoldingEach int

	// Streams is how many event streams may be open, of all callers.
	Streams int

	// StreamsEach is how many of them may be one caller's.
	StreamsEach int

	// Body is how many bytes the body of a request may have.
	Body int64

	// Slow is how long a client may take to send a body, or to take what a
	// stream writes to it.
	Slow time.Duration
}

// DefaultLimits leave room for 20,000 waiting requests, of which one caller
// may have three quarters.
var DefaultLimits = Limits{Holding: 20_000, HoldingEach: 15_000, Streams: 1000, StreamsEach: 200, Body: 16 << 10, Slow: 10 * time.Second}

const (
	// maxWait is the longest that ?wait= may ask for.
	maxWait = time.Minute
	// maxHeld is how long an answer is held at most, whatever was asked for:
	// proxies give up after 60 seconds, and their clock starts first.
	maxHeld = 55 * time.Second
	// firstToken is how long a request that does not say waits for an
	// account that has no token.
	firstToken = 5 * time.Second
	// refreshWait bounds a refresh that somebody asked for: longer than a
	// call to the source and one to take over from a process that died.
	refreshWait = 30 * time.Second
	// heartbeat is how often a stream that has no news says that it is
	// alive.
	heartbeat = 15 * time.Second
)

// API is the http.Handler for everything. It starts nothing by itself; what
// requests start ends with them.
type API struct {
	zk      *coordinator.Coordinator
	gate    Gate
	events  *events.Hub
	page    *page.Page
	metrics http.Handler
	open    bool // metrics without credentials
	probe   func(account string) Probe
	log     *slog.Logger
	limits  Limits

	routes  map[string]*endpoint
	token   *endpoint // /v1/tokens/{name}
	refresh *endpoint // /v1/tokens/{name}/refresh
	one     *endpoint // /accounts/{name}
	form    *endpoint // /GetToken

	// What is none of ours; see misplaced.
	unknown, business, prefixed, shortened, prefixedForm *endpoint

	desks   desks
	holding slots
	streams slots
	counts  counts

	draining atomic.Bool
	stopping context.Context // ended by stop
	stop     context.CancelFunc
}

// New returns an API.
func New(cfg Config) *API {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Events == nil {
		cfg.Events = events.New()
	}
	if cfg.Probe == nil {
		cfg.Probe = func(string) Probe { return nil }
	}
	l := cfg.Limits.or(DefaultLimits)
	a := &API{
		zk:      cfg.Coordinator,
		gate:    cfg.Gate,
		events:  cfg.Events,
		metrics: cfg.Metrics,
		open:    cfg.MetricsOpen,
		probe:   cfg.Probe,
		log:     cfg.Logger,
		limits:  l,
		holding: newSlots(l.Holding, l.HoldingEach),
		streams: newSlots(l.Streams, l.StreamsEach),
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.page = page.New(page.Config{
		Coordinator: cfg.Coordinator, History: cfg.History, Events: cfg.Events, Label: cfg.Label,
		Instance: cfg.Instance, Version: cfg.Version,
	})
	a.layRoutes()
	return a
}

// or returns l with zero fields taken from d.
func (l Limits) or(d Limits) Limits {
	return Limits{
		Holding: cmp.Or(l.Holding, d.Holding), HoldingEach: cmp.Or(l.HoldingEach, d.HoldingEach),
		Streams: cmp.Or(l.Streams, d.Streams), StreamsEach: cmp.Or(l.StreamsEach, d.StreamsEach),
		Body: cmp.Or(l.Body, d.Body), Slow: cmp.Or(l.Slow, d.Slow),
	}
}

// Stop answers everybody who waits (304: ask another process) and ends the
// streams, so that a server can shut down without waiting for them. Requests
// that come later are answered, but not held, and /readyz sends them elsewhere.
func (a *API) Stop() { a.stop() }
