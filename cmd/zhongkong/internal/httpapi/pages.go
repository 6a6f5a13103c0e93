package httpapi

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/coordinator"
)

// pagePolicy lets the page load what this process serves and nothing else, and
// nobody show it inside another page.
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

// getPage answers GET /.
func (a *API) getPage(w http.ResponseWriter, r *request) int {
	setPageHeaders(w.Header())
	q := r.URL.Query()
	var b bytes.Buffer
	err := a.page.Render(r.Context(), &b, page.Request{
		Viewer:   r.caller,
		Language: page.Language(q.Get("lang"), r.Header.Get("Accept-Language")),
		Search:   q.Get("q"),
		Confirm:  q.Get("refresh"),
		Done:     q.Get("done"),
		Failed:   q.Get("failed"),
		Fragment: q.Has("fragment"),
	})
	if err != nil {
		return a.fail(w, r, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept-Language")
	_, _ = w.Write(b.Bytes()) // the client has gone: nobody to tell
	return http.StatusOK
}

// pageFile answers with the page's style, script or icon.
func (a *API) pageFile(name string) answerer {
	f := a.page.File(name)
	return func(w http.ResponseWriter, _ *request) int {
		setPageHeaders(w.Header())
		w.Header().Set("Content-Type", f.Type)
		_, _ = w.Write(f.Content) // the client has gone: nobody to tell
		return http.StatusOK
	}
}

// postPage answers POST /, the page's button: it refreshes, and answers
// without the token. The script asks for JSON; without one the browser is sent
// back to the page.
func (a *API) postPage(w http.ResponseWriter, r *request) int {
	form, err := a.readForm(w, r)
	if err != nil {
		return a.fail(w, r, err)
	}
	name := form.Get("account")
	account, refused := a.permit(r, name)
	if refused != nil {
		return answerProblem(w, *refused)
	}
	if !a.permitRefresh(r, name) {
		return answerProblem(w, problemNoRefresh)
	}
	record, err := a.replace(r, account, coordinator.Token{}, byPage)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		if err != nil {
			return a.fail(w, r, err)
		}
		return answerJSON(w, http.StatusOK, struct {
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
		back = url.Values{"failed": {p.message}}
	}
	if lang := form.Get("lang"); lang != "" {
		back.Set("lang", lang)
	}
	w.Header().Set("Location", "/?"+back.Encode())
	w.WriteHeader(http.StatusSeeOther)
	return http.StatusSeeOther
}
