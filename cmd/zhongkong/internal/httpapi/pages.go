package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/coordinator"
)

// pagePolicy allows the page to load only what this process serves, and forbids
// other pages to embed it.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func setPageHeaders(h http.Header) {
	h["Cache-Control"] = noStore
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// getPage answers GET / with the list, and GET /accounts/{name} with the page
// of one account.
func (a *app) getPage(w http.ResponseWriter, r *request) int {
	if r.account != "" {
		if _, err := a.permit(r, r.account); err != nil {
			return a.failPage(w, r, err)
		}
	}
	q := r.URL.Query()
	return a.writePage(w, r, func(to io.Writer) error {
		return a.page.Render(r.Context(), to, page.Request{
			Viewer:   r.caller,
			Root:     pathToRoot(r.URL),
			Language: languageOf(r),
			Account:  r.account,
			Search:   q.Get("q"),
			State:    q.Get("state"),
			All:      q.Has("all"),
			Confirm:  q.Get("refresh"),
			Done:     q.Get("done"),
			Failed:   q.Get("failed"),
			Fragment: q.Has("fragment"),
		})
	})
}

// pathToRoot returns the relative path from a page to the list, for links. It is
// relative because a proxy may have removed a prefix of the path.
func pathToRoot(u *url.URL) string {
	if depth := strings.Count(u.EscapedPath(), "/") - 1; depth > 0 {
		return strings.Repeat("../", depth)
	}
	return "./"
}

func languageOf(r *request) string {
	return page.Language(r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"))
}

// writePage answers with what render writes, part by part: the list of a thousand accounts
// has 600 KB. A page that ends early must not look as if all were well, so its
// connection is broken off.
func (a *app) writePage(w http.ResponseWriter, r *request, render func(io.Writer) error) int {
	out := &pageWriter{to: w}
	b := bufio.NewWriter(out)
	err := render(b)
	if err == nil {
		err = b.Flush()
	}
	switch {
	case err == nil:
		return http.StatusOK
	case out.begun:
		return statusGone
	}
	return a.failPage(w, r, err)
}

// pageWriter writes the head of a page's answer before the first part of its content.
type pageWriter struct {
	to    http.ResponseWriter
	begun bool
}

func (p *pageWriter) Write(content []byte) (int, error) {
	if !p.begun {
		p.begun = true
		beginHTML(p.to, http.StatusOK)
	}
	return p.to.Write(content)
}

func beginHTML(w http.ResponseWriter, status int) {
	setPageHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept, Accept-Language")
	w.WriteHeader(status)
}

// failPage answers with an error: as a page if a browser shows it to a person,
// else as JSON.
func (a *app) failPage(w http.ResponseWriter, r *request, err error) int {
	p := a.explain(r, err)
	if p.status == statusGone || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return writeProblem(w, p)
	}
	setProblemHeaders(w.Header(), p)
	return a.writeNotice(w, r, p.status, p.code)
}

func (a *app) writeNotice(w http.ResponseWriter, r *request, status int, code string) int {
	var b bytes.Buffer
	if err := a.page.RenderNotice(&b, page.Notice{Root: pathToRoot(r.URL), Language: languageOf(r), Code: code}); err != nil {
		return a.fail(w, r, err)
	}
	beginHTML(w, status)
	_, _ = w.Write(b.Bytes()) // fails if the client has gone
	return status
}

// getLogout answers GET /logout with 401: the browser forgets the password and
// asks for another. A person who cancels that dialog sees the page, which says
// that they are logged out. Credentials are ignored, so that the logout is no
// failed login.
func (a *app) getLogout(w http.ResponseWriter, r *request) int {
	setProblemHeaders(w.Header(), problemCredentials)
	return a.writeNotice(w, r, problemCredentials.status, page.LoggedOut)
}

// pageFile answers with the page's style, script or icon.
func (a *app) pageFile(name string) handler {
	f := a.page.File(name)
	return func(w http.ResponseWriter, _ *request) int {
		setPageHeaders(w.Header())
		w.Header().Set("Content-Type", f.Type)
		_, _ = w.Write(f.Content) // fails if the client has gone
		return http.StatusOK
	}
}

// postPage answers POST / and /accounts/{name}, the button of the pages: it
// refreshes and answers without the token. The pages' script asks for JSON; a
// browser without scripts is redirected to the page.
func (a *app) postPage(w http.ResponseWriter, r *request) int {
	form, err := r.readForm(w)
	if err != nil {
		return a.failPage(w, r, err)
	}
	name := form.Get("account")
	account, err := a.permit(r, name)
	if err == nil {
		err = a.permitRefresh(r, name)
	}
	if err != nil {
		return a.failPage(w, r, err)
	}
	record, err := a.replace(r, account, coordinator.Token{}, byPage)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		if err != nil {
			return a.fail(w, r, err)
		}
		return writeJSON(w, http.StatusOK, struct {
			Name       string            `json:"name"`
			Generation coordinator.Fence `json:"generation"`
		}{name, record.Generation})
	}
	back := url.Values{"done": {name}}
	if err != nil {
		p := a.explain(r, err)
		if p.status == statusGone {
			return p.status
		}
		back = url.Values{"failed": {p.code}}
	}
	if lang := form.Get("lang"); lang != "" {
		back.Set("lang", lang)
	}
	w.Header().Set("Location", "?"+back.Encode()) // relative: a proxy may serve this below any path
	w.WriteHeader(http.StatusSeeOther)
	return http.StatusSeeOther
}
