package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
)

// handler answers what needs no credentials: nothing in it is a secret.
func (d *daemon) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", d.ready)
	mux.Handle("GET /metrics", d.metrics)
	return mux
}

// ready answers 200 when there is a usable token for every account.
func (d *daemon) ready(w http.ResponseWriter, _ *http.Request) {
	var without []string
	for _, a := range d.zk.Accounts() {
		s := a.Status()
		if s.Record.Usable() {
			continue
		}
		why := "no token yet"
		if s.Failure != nil && s.Failure.InARow > 0 {
			why = failureWords(s.Failure)
		}
		without = append(without, fmt.Sprintf("%s: %s", s.Name, why))
	}
	if len(without) > 0 {
		answerJSON(w, http.StatusServiceUnavailable, map[string]string{
			"error": "no_token", "message": strings.Join(without, "; "),
		})
		return
	}
	answerJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// failureWords is a failure in one phrase.
func failureWords(f *coordinator.Failure) string {
	if f.Code == 0 {
		return f.Message
	}
	return fmt.Sprintf("%d: %s", f.Code, f.Message)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller has gone: nothing to tell him
}
