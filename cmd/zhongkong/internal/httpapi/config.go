package httpapi

import (
	"log/slog"
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Config configures an API. Coordinator, Callers and Directory are required.
type Config struct {
	Coordinator *coordinator.Coordinator
	Callers     Callers
	Directory   Directory

	// Proxy has the routes, below /proxy/. Nil: there are none, and callers who get
	// phantoms get nothing.
	Proxy Routes

	// Events feeds /v1/events and the page. Its Observe has to be part of the
	// coordinator's Config.Observe. Nil: there are no events.
	Events *events.Hub

	// History gives the page the events before this process started. Nil: the
	// page shows what Events remembers.
	History page.History

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
