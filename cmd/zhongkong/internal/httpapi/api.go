package httpapi

import (
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

// Gate authenticates callers; *auth.Authenticator is one.
type Gate interface {
	Authenticate(ctx context.Context, from netip.Addr, name, password string) (auth.Caller, error)
}

// Probe asks an issuer about a token. Nil: it accepts the token. An error for
// which wechat.Rejected is true: it does not. Another error: not known. No error
// holds the token.
type Probe func(ctx context.Context, token coordinator.Token) error

// Config configures an API. Coordinator and Gate are required.
type Config struct {
	Coordinator *coordinator.Coordinator
	Gate        Gate

	// Probe returns how to ask an account's issuer whether it accepts a token,
	// nil if it cannot be asked. The drop-in then checks a token that a caller
	// asks for again, and has it replaced if it is rejected. Nil: no token is
	// checked.
	Probe func(account string) Probe

	// Events feeds /v1/events and the page. Its Observe has to be part of the
	// coordinator's Config.Observe. Nil: there are no events.
	Events *events.Hub

	// History gives the page the events before this process started. Nil: the
	// page shows what Events remembers.
	History page.History

	// Label returns an account's name for people, "" if it has none. Nil: no
	// account has one.
	Label func(account string) string

	// Metrics answers /metrics, to callers of all accounts. Nil: 404.
	Metrics http.Handler

	// MetricsOpen answers /metrics without credentials. Metrics hold no token,
	// but the names of all accounts and how many calls are left.
	MetricsOpen bool

	// Instance and Version are shown on the page.
	Instance, Version string

	// Logger gets the audit lines: callers refused (Warn; Debug if they sent no
	// credentials), forced refreshes (Info), and the causes of errors that only
	// an operator can remove (Error). Lines that many requests can cause are
	// rationed by the logger. Nil: nothing is logged.
	Logger *slog.Logger

	// Limits bound what callers can hold open; zero fields mean
	// DefaultLimits.
	Limits Limits
}

const (
	// maxWait is the longest that ?wait= may ask for.
	maxWait = time.Minute
	// maxHeld is how long a response is held at most, whatever was asked for:
	// proxies time out after 60 seconds, and their clock starts first.
	maxHeld = 55 * time.Second
	// firstToken is how long a request without ?wait= waits for an account that
	// has no token.
	firstToken = 5 * time.Second
	// refreshWait bounds the wait for a forced refresh. It is longer than a call
	// to the source and another one by the process that takes over when the first
	// one dies.
	refreshWait = 30 * time.Second
	// heartbeat is the interval of the comments that keep an event stream alive.
	heartbeat = 15 * time.Second
)

// API is the http.Handler of the whole HTTP interface. It starts no goroutine by
// itself. What a request starts ends with the request, or with Stop.
type API struct {
	accessControl
	errorWriter

	zk          *coordinator.Coordinator
	log         *slog.Logger
	probe       func(account string) Probe
	events      *events.Hub
	page        *page.Page
	metrics     http.Handler
	metricsOpen bool
	limits      Limits

	router

	accounts accountStates
	holding  limiter
	streams  limiter
	counts   counts

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
		accessControl: accessControl{gate: cfg.Gate, zk: cfg.Coordinator, log: cfg.Logger},
		errorWriter:   errorWriter{log: cfg.Logger},
		zk:            cfg.Coordinator,
		log:           cfg.Logger,
		probe:         cfg.Probe,
		events:        cfg.Events,
		metrics:       cfg.Metrics,
		metricsOpen:   cfg.MetricsOpen,
		limits:        l,
		accounts:      accountStates{zk: cfg.Coordinator},
		holding:       newLimiter(l.Holding, l.HoldingEach),
		streams:       newLimiter(l.Streams, l.StreamsEach),
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.page = page.New(page.Config{
		Coordinator: cfg.Coordinator, History: cfg.History, Events: cfg.Events, Label: cfg.Label,
		Instance: cfg.Instance, Version: cfg.Version,
	})
	a.addRoutes()
	return a
}

// Drain makes /readyz answer 503. Other requests are answered as before, until
// Stop.
func (a *API) Drain() { a.draining.Store(true) }

// Stop answers all waiting requests (304: ask another process) and ends the
// streams, so that a server can shut down without waiting for them. Later
// requests are answered but not held, and /readyz answers 503.
func (a *API) Stop() { a.stop() }
