package httpapi

import (
	"net/http"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
	"github.com/zhongkong/zhongkong/coordinator"
)

// dropInWeCom answers /cgi-bin/gettoken.
func (a *app) dropInWeCom(w http.ResponseWriter, r *request) int {
	q, err := r.dropInQuery(w, wechatapi.ParseWeCom)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	if wrong := q.CheckWeCom(); wrong != nil {
		return wechatapi.WriteError(w, wrong)
	}
	credentials := q.Credentials()
	if credentials == nil {
		a.refuse(r, "", "corpsecret is not NAME:PASSWORD or NAME~PASSWORD")
		return wechatapi.WriteError(w, wechatapi.InvalidCorpSecret())
	}
	if err := a.authenticate(r, credentials...); err != nil {
		if problemOf(r.Context(), err).status == http.StatusUnauthorized {
			return wechatapi.WriteError(w, wechatapi.InvalidCorpSecret())
		}
		return a.dropInFail(w, r, err)
	}
	account, wrong := a.appOf(r, q.AppID)
	if wrong != nil {
		return wechatapi.WriteError(w, wrong)
	}
	return a.dropInAnswer(w, r, account, false, wechatapi.WriteCorpToken)
}

// appOf returns the account of an app by its name, or by its corp if the caller has one
// app of that corp.
func (a *app) appOf(r *request, corpID string) (*coordinator.Account, *wechatapi.Error) {
	if account, ok := a.zk.Account(corpID); ok && r.caller.May(corpID) {
		return account, nil
	}
	var mine []string
	for _, name := range a.directory.Corp(corpID) {
		if r.caller.May(name) {
			mine = append(mine, name)
		}
	}
	switch len(mine) {
	case 0:
		a.refuse(r, r.caller.Name(), errForbidden.Error())
		return nil, wechatapi.InvalidCorpID(http.StatusForbidden, "it must be the name of an account of the caller, or the corpid of one")
	case 1:
		if account, ok := a.zk.Account(mine[0]); ok {
			return account, nil
		}
		return nil, wechatapi.InvalidCorpID(http.StatusNotFound, "the account "+mine[0]+" does not exist any more")
	}
	return nil, wechatapi.InvalidCorpID(http.StatusBadRequest,
		"the caller has several apps of this corp: set the corpid of the SDK to the name of one account: "+strings.Join(mine, ", "))
}
