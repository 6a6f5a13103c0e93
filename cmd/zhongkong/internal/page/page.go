// Package page renders the status page: what an operator wants to know at a
// glance at three in the morning, the most urgent first. It is whole without
// the script, which only keeps it up to date. There is no token on it.
package page

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Viewer is who looks at the page.
type Viewer interface {
	Name() string
	May(account string) bool
	MayRefresh(account string) bool
}

// Event is an entry of an account's log. It has no token.
type Event struct {
	At      time.Time
	Account string
	Event   string // "refreshed", "failed", "restored", "superseded", "conflict" ...
	By      string
	Reason  string
	Took    time.Duration
	Code    int
	Error   string
	Limit   string // throttled: which limit
}

// History has what happened to an account, the newest first, at most n. The
// store's log does.
type History interface {
	History(ctx context.Context, account string, n int) ([]Event, error)
}

// Config is what a Page is made of.
type Config struct {
	Coordinator       *coordinator.Coordinator
	Events            *events.Hub
	History           History // may be nil
	Instance, Version string
}

// Page renders the page.
type Page struct {
	cfg       Config
	store     storeView
	history   *pastEvents
	templates map[string]*template.Template // :: language → page with "live" in it
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
	source := string(mustRead("page.html"))
	for _, w := range languages {
		p.templates[w.code] = template.Must(template.New("page").Funcs(w.functions()).Parse(source))
	}
	return p
}

// mustRead reads what was compiled in.
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

// Request is a wish to see the page.
type Request struct {
	Viewer   Viewer
	Language string // one that Language returned
	Search   string // show only accounts with this in their name
	Confirm  string // ask whether this account is to be refreshed
	Done     string // this account was refreshed
	Failed   string // a refresh failed, in words
	Fragment bool   // only the part that changes
}

// Render writes the page.
func (p *Page) Render(ctx context.Context, w io.Writer, r Request) error {
	name := "page"
	if r.Fragment {
		name = "live"
	}
	v := p.view(ctx, r, time.Now())
	var b bytes.Buffer // a page that breaks off half-way would look like a calm one
	if err := p.templates[v.Language].ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("render the page: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}
