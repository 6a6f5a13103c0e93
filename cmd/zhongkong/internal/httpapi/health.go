package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/callers"
	"github.com/zhongkong/zhongkong/coordinator"
)

// getHealth answers GET /healthz: the process is alive.
func getHealth(w http.ResponseWriter, _ *request) int {
	return answerJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// missing is an account without a usable token.
type missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// notReady is the answer of /readyz when a token is missing.
type notReady struct {
	Error   string    `json:"error"`
	Message string    `json:"message"`
	Missing []missing `json:"missing,omitempty"`
}

// getReady answers GET /readyz: there is a usable token for every account.
// Which one is missing is told to callers alone, of the accounts they may have.
func (a *API) getReady(w http.ResponseWriter, r *request) int {
	if r.Header.Get("Authorization") != "" {
		if status := a.login(w, r); status != 0 {
			return status
		}
	}
	// A caller may see less than is missing: the status tells everybody the
	// same.
	answer, ready := notReady{Error: "not_ready", Message: "not every account has a usable token"}, true
	for _, account := range a.zk.Accounts() {
		if _, ok := account.Peek(); ok {
			continue
		}
		ready = false
		if !r.caller.May(account.Name()) {
			continue
		}
		answer.Missing = append(answer.Missing, missing{account.Name(), reasonOf(account.Status().Failure)})
	}
	if ready {
		return answerJSON(w, http.StatusOK, struct {
			Status string `json:"status"`
		}{"ready"})
	}
	return answerJSON(w, http.StatusServiceUnavailable, answer)
}

func reasonOf(f *coordinator.Failure) string {
	if f == nil || f.InARow == 0 {
		return "no token yet"
	}
	return (&coordinator.FetchError{Code: f.Code, Message: f.Message}).Error()
}

// getMetrics answers GET /metrics. They name every account, so they are for
// callers of all of them.
func (a *API) getMetrics(w http.ResponseWriter, r *request) int {
	if !a.open && !r.caller.May(callers.Everything) {
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
