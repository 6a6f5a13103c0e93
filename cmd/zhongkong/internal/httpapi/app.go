package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

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

// app is what the handlers share; they are its methods.
type app struct {
	accessControl
	counts
	readCounts

	zk          *coordinator.Coordinator
	log         *slog.Logger
	proxy       Routes // nil: none
	directory   Directory
	events      *events.Hub
	page        *page.Page
	metrics     http.Handler
	metricsOpen bool
	limits      Limits

	accounts accountStates
	holding  limiter
	streams  limiter

	draining atomic.Bool
	stopping context.Context // ended by stop
	stop     context.CancelFunc
}

func newApp(cfg Config) *app {
	log := cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	hub := cmp.Or(cfg.Events, events.New())
	l := cfg.Limits.or(DefaultLimits())
	a := &app{
		accessControl: accessControl{callers: cfg.Callers, zk: cfg.Coordinator, log: log},
		zk:            cfg.Coordinator,
		log:           log,
		proxy:         cfg.Proxy,
		directory:     cfg.Directory,
		events:        hub,
		metrics:       cfg.Metrics,
		metricsOpen:   cfg.MetricsOpen,
		limits:        l,
		accounts:      accountStates{zk: cfg.Coordinator, overlap: cfg.Directory.Overlap},
		holding:       newLimiter(l.Holding, l.HoldingEach),
		streams:       newLimiter(l.Streams, l.StreamsEach),
	}
	a.accounts.reads = &a.readCounts
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.page = page.New(page.Config{
		Coordinator: cfg.Coordinator, History: cfg.History, Events: hub, Label: cfg.Directory.PageLabel, Source: cfg.Directory.Source,
		Instance: cfg.Instance, Version: cfg.Version,
		Readers: func(v page.Viewer, name string) []wire.Reader {
			account, ok := cfg.Coordinator.Account(name)
			if !ok {
				return nil
			}
			return a.readersOf(v, account)
		},
	})
	return a
}

// Drain makes /readyz answer 503. Other requests are answered as before, until
// Stop.
func (a *app) Drain() { a.draining.Store(true) }

// Stop answers all waiting requests (304: ask another process) and ends the
// streams, so that a server can shut down without waiting for them. Later
// requests are answered but not held, and /readyz answers 503.
func (a *app) Stop() { a.stop() }

// Holding returns how many requests wait for a token or a refresh.
func (a *app) Holding() int { return a.holding.InUse() }

// Streams returns how many event streams are open.
func (a *app) Streams() int { return a.streams.InUse() }
