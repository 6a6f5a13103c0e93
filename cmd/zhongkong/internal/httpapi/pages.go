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

// getPage answers GET / with the list, and GET /accounts/{name} with the page
// of one account.
func (a *API) getPage(w http.ResponseWriter, r *request) int {
	if r.account != "" {
		if _, refused := a.permit(r, r.account); refused != nil {
			return a.answerPerson(w, r, *refused)
		}
	}
	q := r.URL.Query()
	var b bytes.Buffer
	err := a.page.Render(r.Context(), &b, page.Request{
		Viewer:   r.caller,
		Root:     wayToRoot(r.URL),
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
	if err != nil {
		return a.answerPerson(w, r, a.explain(r, err))
	}
	return answerHTML(w, http.StatusOK, b.Bytes())
}

// wayToRoot is the way from a page to the list, for its links. A proxy may have
// taken something off the front of the path; what is left counts.
func wayToRoot(u *url.URL) string {
	if deep := strings.Count(u.EscapedPath(), "/") - 1; deep > 0 {
		return strings.Repeat("../", deep)
	}
	return "./"
}

func languageOf(r *request) string {
	return page.Language(r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"))
}

func answerHTML(w http.ResponseWriter, status int, content []byte) int {
	setPageHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept, Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(content) // the client has gone: nobody to tell
	return status
}

// answerPerson answers with a problem: as a page where a browser shows it to a
// person, else as ever.
func (a *API) answerPerson(w http.ResponseWriter, r *request, p problem) int {
	if p.status == statusGone || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return answerProblem(w, p)
	}
	setProblemHeaders(w.Header(), p)
	return a.answerNotice(w, r, p.status, p.code)
}

func (a *API) answerNotice(w http.ResponseWriter, r *request, status int, code string) int {
	var b bytes.Buffer
	if err := a.page.RenderNotice(&b, page.Notice{Root: wayToRoot(r.URL), Language: languageOf(r), Code: code}); err != nil {
		return a.fail(w, r, err)
	}
	return answerHTML(w, status, b.Bytes())
}

// getLogout answers GET /logout. A browser forgets the password when it is
// refused, and asks for another; whoever cancels that reads that he is logged
// out. Nobody's credentials are looked at: they would be tried in vain.
func (a *API) getLogout(w http.ResponseWriter, r *request) int {
	setProblemHeaders(w.Header(), problemCredentials)
	return a.answerNotice(w, r, problemCredentials.status, page.LoggedOut)
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

// postPage answers POST / and /accounts/{name}, the pages' button: it refreshes,
// and answers without the token. The script asks for JSON; without one the
// browser is sent back to the page.
func (a *API) postPage(w http.ResponseWriter, r *request) int {
	form, err := a.readForm(w, r)
	if err != nil {
		return a.answerPerson(w, r, a.explain(r, err))
	}
	name := form.Get("account")
	account, refused := a.permit(r, name)
	if refused != nil {
		return a.answerPerson(w, r, *refused)
	}
	if !a.permitRefresh(r, name) {
		return a.answerPerson(w, r, problemNoRefresh)
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
		back = url.Values{"failed": {p.code}}
	}
	if lang := form.Get("lang"); lang != "" {
		back.Set("lang", lang)
	}
	w.Header().Set("Location", "?"+back.Encode()) // relative: a proxy may serve this below any path
	w.WriteHeader(http.StatusSeeOther)
	return http.StatusSeeOther
}
