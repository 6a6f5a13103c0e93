// Package page renders the status page, with the most urgent accounts first. The page
// works without its script, which only keeps it up to date. It contains no token.
package page

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// Viewer is the caller who views the page.
type Viewer interface {
	Name() string
	May(account string) bool
	MayRefresh(account string) bool
}

// event is an entry of an account's log, or an event that this process received.
// It has no token.
type event struct {
	redisadmin.Entry
	Account string
	Limit   string // throttled: by which limit
}

// History reads the log of an account. redisadmin.Inspector is one.
type History interface {
	// History returns the latest n entries, the newest first.
	History(ctx context.Context, account string, n int) ([]redisadmin.Entry, error)
}

// Config is what a Page is made of.
type Config struct {
	Coordinator       *coordinator.Coordinator
	Events            *events.Hub
	History           History // may be nil
	Instance, Version string

	// Readers returns the callers to whom this process has given an account's token, as far
	// as the viewer may know them. Nil: that is not known.
	Readers func(v Viewer, account string) []wire.Reader

	// Label returns an account's name for people, "" if it has none. Nil:
	// none has.
	Label func(account string) string

	// Source returns the kind of an account's source, see package sources. Nil, and "":
	// it is WeChat's.
	Source func(account string) string
}

// Page renders the page.
type Page struct {
	cfg       Config
	store     storeView
	history   *pastEvents
	templates map[string]*template.Template // :: language → the files below
	files     map[string]File
}

// storeView is what the page asks a coordinator.
type storeView struct {
	connected func() bool
	err       func() error // why the store cannot be used
	statuses  func() []coordinator.Status
}

func viewOf(c *coordinator.Coordinator) storeView {
	return storeView{c.Connected, c.StoreError, func() []coordinator.Status {
		var all []coordinator.Status
		for _, a := range c.Accounts() {
			all = append(all, a.Status())
		}
		return all
	}}
}

// File is something that the page loads.
type File struct {
	Type    string
	Content []byte
}

//go:embed files
var embedded embed.FS

// New returns a Page.
func New(cfg Config) *Page { return newPage(cfg, viewOf(cfg.Coordinator)) }

func newPage(cfg Config, store storeView) *Page {
	if cfg.Readers == nil {
		cfg.Readers = func(Viewer, string) []wire.Reader { return nil }
	}
	if cfg.Label == nil {
		cfg.Label = func(string) string { return "" }
	}
	if cfg.Source == nil {
		cfg.Source = func(string) string { return "" }
	}
	p := &Page{
		cfg:       cfg,
		store:     store,
		history:   newPastEvents(cfg.History, cfg.Events),
		templates: make(map[string]*template.Template),
		files:     make(map[string]File),
	}
	for name, kind := range map[string]string{
		"page.css": "text/css; charset=utf-8",
		"page.js":  "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml",
	} {
		p.files[name] = File{kind, mustRead(name)}
	}
	for _, w := range languages() {
		t := template.New("page").Funcs(w.functions())
		for _, name := range []string{"page.html", "list.html", "card.html", "account.html", "events.html", "notice.html"} {
			template.Must(t.Parse(string(mustRead(name))))
		}
		p.templates[w.Code] = t
	}
	return p
}

func mustRead(name string) []byte {
	content, err := embedded.ReadFile("files/" + name)
	if err != nil {
		panic(fmt.Sprintf("page: %v", err))
	}
	return content
}

// Files returns the names of the files that the page loads.
func (p *Page) Files() []string { return []string{"icon.svg", "page.css", "page.js"} }

// File returns one of Files.
func (p *Page) File(name string) File { return p.files[name] }

// Request is a request for the page.
type Request struct {
	Viewer   Viewer
	Root     string // relative path from the page to the list: "./", "../" ...
	Language string // one that Language returned
	Account  string // the page of this account, which the viewer may see; "": the list
	Search   string // show only accounts with this in their name
	State    string // show only accounts in this state
	All      bool   // show everything
	Confirm  string // ask for confirmation of a refresh of this account
	Done     string // this account was refreshed
	Failed   string // a refresh failed: the code of the API's error
	Fragment bool   // only the part that changes
}

// Render writes the page, part by part. If it returns an error, the page may have been
// written in part. Its links are relative, so that it works below any path of a proxy.
func (p *Page) Render(ctx context.Context, w io.Writer, r Request) error {
	name := "page"
	if r.Fragment {
		name = "live"
	}
	return p.execute(w, r.Language, name, p.view(ctx, r, time.Now()))
}

// Notice is a page with a single message.
type Notice struct {
	Root     string // as in Request
	Language string
	Code     string // the code of the API's error, or LoggedOut
}

// LoggedOut is the Code of the message after a logout.
const LoggedOut = "logged_out"

// RenderNotice writes a page with a message.
func (p *Page) RenderNotice(w io.Writer, n Notice) error {
	return p.execute(w, n.Language, "notice", n)
}

func (p *Page) execute(w io.Writer, language, name string, data any) error {
	if err := p.templates[language].ExecuteTemplate(w, name, data); err != nil {
		return fmt.Errorf("render the page: %w", err)
	}
	return nil
}
