package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
)

// ControlPrefix begins the paths of a control interface, and no path of an issuer's.
const ControlPrefix = "/sandbox/"

// A Controller carries out one kind of control request on the server S. What it returns
// is sent as JSON; nil is an empty object. An error of NotFound leads to status 404, any
// other to 400.
type Controller[S any] func(S, *http.Request) (any, error)

// NewControl returns the control interface of a server: the routes, by their patterns as
// of http.ServeMux, and a list of them at ControlPrefix.
func NewControl[S any](s S, routes map[string]Controller[S]) http.Handler {
	mux := http.NewServeMux()
	for pattern, do := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			answer, err := do(s, req)
			writeControl(w, answer, err)
		})
	}
	requests := slices.Sorted(maps.Keys(routes))
	mux.HandleFunc("GET "+ControlPrefix+"{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeControl(w, map[string]any{"requests": requests}, nil)
	})
	mux.HandleFunc(ControlPrefix, func(w http.ResponseWriter, req *http.Request) {
		writeControl(w, nil, NotFound("unknown control request %s %s; the known ones are: %v", req.Method, req.URL.Path, requests))
	})
	// Web pages in a browser must not control a sandbox on localhost.
	return http.NewCrossOriginProtection().Handler(mux)
}

// WithBody returns a controller of a request whose body is a JSON object. Unknown names
// are an error; an empty body counts as an empty object.
func WithBody[S, Q any](do func(S, *http.Request, Q) (any, error)) Controller[S] {
	return func(s S, req *http.Request) (any, error) {
		var q Q
		if err := decode(req, &q); err != nil {
			return nil, err
		}
		return do(s, req, q)
	}
}

type notFoundError struct{ message string }

func (e notFoundError) Error() string { return e.message }

// NotFound returns the error of a request for something that is not there.
func NotFound(format string, args ...any) error { return notFoundError{fmt.Sprintf(format, args...)} }

func writeControl(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	switch {
	case errors.As(err, new(notFoundError)):
		status = http.StatusNotFound
	case err != nil:
		status = http.StatusBadRequest
	}
	if err != nil {
		answer = map[string]string{"error": err.Error()}
	}
	if answer == nil {
		answer = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(answer) // an error means that the client has gone away
}

// decode reads a control request's body.
func decode(req *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(req.Body, MaxRequest))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("invalid body: %w", err)
	}
	if decoder.More() {
		return errors.New("invalid body: data follows the JSON object")
	}
	return nil
}
