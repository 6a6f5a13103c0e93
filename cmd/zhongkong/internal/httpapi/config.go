package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Probe asks an issuer about a token. Nil: it accepts the token. An error that wraps
// httpsource.ErrRejected: it does not. Another error: not known. No error holds the
// token.
type Probe func(ctx context.Context, token coordinator.Token) error

// Config configures an API. Coordinator and Callers are required.
type Config struct {
	Coordinator *coordinator.Coordinator
	Callers     Callers

	// Probe returns how to ask an account's issuer whether it accepts a token,
	// nil if it cannot be asked. The drop-in then checks a token that a caller
	// asks for again, and has it replaced if it is rejected. Nil: no token is
	// checked.
	Probe func(account string) Probe

	// Overlap returns for how long an account's issuer accepts a token that was
	// replaced. Nil: WeChat's 5 minutes for every account.
	Overlap func(account string) time.Duration

	// GrantIdle returns how long an account's refresh token lives if it is not used, for
	// callers who put one in and do not say; 0: not known. Nil: 0 for every account.
	GrantIdle func(account string) time.Duration

	// Proxy has the routes, below /proxy/. Nil: there are none, and callers who get
	// phantoms get nothing.
	Proxy Routes

	// Directory knows which accounts belong together. Nil: there are no tickets, no
	// apps of WeCom, and no pages to sign.
	Directory Directory

	// Callback returns what takes the pushes to an account. Nil: no account has pushes.
	Callback func(account string) (Callback, bool)

	// Events feeds /v1/events and the page. Its Observe has to be part of the
	// coordinator's Config.Observe. Nil: there are no events.
	Events *events.Hub

	// History gives the page the events before this process started. Nil: the
	// page shows what Events remembers.
	History page.History

	// Label returns an account's name for people, "" if it has none. Nil: no
	// account has one.
	Label func(account string) string

	// PageLabel returns what the page shows beside an account's name, "" for
	// nothing. Nil: the Label.
	PageLabel func(account string) string

	// PageSource is page.Config.Source.
	PageSource func(account string) string

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
