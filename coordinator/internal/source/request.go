package source

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// NewRequest returns a POST of body as JSON, a GET if body is nil. Its error may hold the
// address and the query.
func NewRequest(ctx context.Context, address string, query url.Values, body any) (*http.Request, error) {
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	if body == nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	// A bytes.Reader gives the request its Content-Length: WeChat's gateway answers a
	// chunked one with an empty 412.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}
