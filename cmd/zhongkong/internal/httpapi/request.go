package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// request is an http.Request with what is known of it.
type request struct {
	*http.Request
	account string      // the {name} of the path
	caller  auth.Caller // the zero Caller until it is authenticated
	maxBody int64       // bytes
	id      string      // see requestid
	entry   *accesslog.Entry
}

// logContext returns the context for the lines in the log that the request causes.
func (r *request) logContext() context.Context { return requestid.With(context.Background(), r.id) }

type badRequest struct{ text string }

func (e *badRequest) Error() string { return e.text }

func badRequestf(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

// errRevoked ends what a caller has open when it is removed, or when its password
// or its rights change.
var errRevoked = errors.New("this caller was removed, or its password or its rights were changed")

// waitContext returns a context that ends with the request, after d, or when the
// caller is revoked.
func (r *request) waitContext(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), d)
	if revoked := r.caller.Revoked(); revoked != nil {
		go func() { // ends with ctx, which ends with the request
			select {
			case <-revoked:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// read returns the body. It fails if the body is larger than maxBody, or does
// not arrive before the deadline that ServeHTTP set.
func (r *request) read(w http.ResponseWriter) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, r.maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil:
		return nil, badRequestf("the body could not be read to its end")
	}
	// The body has arrived, and what follows may take longer than the deadline,
	// which would end the request's context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// readForm returns the fields of an urlencoded body. Fields in the query string
// are ignored, because proxies log them.
func (r *request) readForm(w http.ResponseWriter) (url.Values, error) {
	if given := r.Header.Get("Content-Type"); given != "" {
		kind, _, err := mime.ParseMediaType(given)
		if err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, formdata.ErrMediaType
		}
	}
	body, err := r.read(w)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequestf("the body is not a well-formed form")
	}
	return form, nil
}

// decodeStrict decodes a JSON object into v and refuses unknown fields: a
// misspelt field must not be taken for one that was left out.
func decodeStrict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the object is followed by something else")
	}
	return nil
}
