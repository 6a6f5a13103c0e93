package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// getHealth answers GET /healthz: the process is alive.
func getHealth(w http.ResponseWriter, _ *request) int {
	return answerJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// getMetrics answers GET /metrics. They name every account, so they are for
// callers of all of them.
func (a *API) getMetrics(w http.ResponseWriter, r *request) int {
	if !a.open && !r.caller.May(auth.AllAccounts) {
		a.refuse(r, r.caller.Name(), "metrics are for callers of all accounts")
		return answerProblem(w, problem{http.StatusForbidden, "forbidden", "metrics are for callers of all accounts", 0})
	}
	w.Header()["Cache-Control"] = noStore
	a.metrics.ServeHTTP(w, r.Request)
	return http.StatusOK
}

//go:embed openapi.yaml
var description []byte

// getDescription answers GET /openapi.yaml.
func getDescription(w http.ResponseWriter, _ *request) int {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	_, _ = w.Write(description) // the client has gone: nobody to tell
	return http.StatusOK
}
