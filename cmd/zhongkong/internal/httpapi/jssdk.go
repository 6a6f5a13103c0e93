package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// getSignature answers GET /v1/jssdk/{name} with what a page passes to wx.config. The
// page's own server asks: a browser has no credentials.
func (a *app) getSignature(w http.ResponseWriter, r *request) int {
	if _, err := a.permit(r, r.account); err != nil {
		return a.fail(w, r, err)
	}
	page, err := pageToSign(r.URL.RawQuery)
	if err != nil {
		return a.fail(w, r, err)
	}
	signer, ok := a.directory.Signer(r.account)
	account, found := a.zk.Account(signer.Ticket)
	if !ok || !found {
		return writeProblem(w, problem{http.StatusNotFound, "not_found",
			"nothing signs pages with this account: it needs a JS-SDK ticket, and the hosts of the pages in pages:", 0})
	}
	s, err := a.current(r, account, firstToken)
	if err != nil {
		return a.fail(w, r, err)
	}
	signed, err := signer.Pages.Sign(signer.AppID, s.Token, page)
	switch {
	case errors.Is(err, wechat.ErrForeignPage):
		return writeProblem(w, problem{http.StatusForbidden, "foreign_page", "url: the page's host is not in the account's pages", 0})
	case err != nil:
		return a.fail(w, r, badRequestf("url: %s", strings.TrimPrefix(err.Error(), "wechat: ")))
	}
	return writeJSON(w, http.StatusOK, signed)
}

// pageToSign returns the parameter url. There must be no other: one that is not escaped
// falls into several, and a signature of its beginning would be of no use to the page.
func pageToSign(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) != 1 || len(values["url"]) != 1 || values["url"][0] == "" {
		return "", badRequestf("the query string must be url= and the page's location.href, escaped as by encodeURIComponent")
	}
	return values["url"][0], nil
}
