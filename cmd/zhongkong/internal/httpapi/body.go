package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// read returns the body, if it is not too large and comes in time.
func (a *API) read(w http.ResponseWriter, r *request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.limits.Body))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil:
		return nil, badf("the body could not be read to its end")
	}
	// It has come whole: what follows may take longer than a body may. The
	// deadline left in place would end the request's context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// readForm returns the fields of a form in the body. Those of the query string
// are none: proxies log them.
func (a *API) readForm(w http.ResponseWriter, r *request) (url.Values, error) {
	if given := r.Header.Get("Content-Type"); given != "" {
		kind, _, err := mime.ParseMediaType(given)
		if err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, errMediaType
		}
	}
	body, err := a.read(w, r)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badf("the body is not a well-formed form")
	}
	return form, nil
}

// decodeStrict decodes a JSON object into v and refuses what v does not know:
// a field that is misspelt must not be taken for one that was left out.
func decodeStrict(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the object")
	}
	return nil
}
