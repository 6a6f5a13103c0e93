package httpapi

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAPageThatEndsEarlyIsBrokenOff has a page fail before and after its first part was
// sent.
func TestAPageThatEndsEarlyIsBrokenOff(t *testing.T) {
	s := newStage(t)
	const begin = "<!doctype html>"
	for _, written := range []int{1, 10_000} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
			status := s.api.writePage(w, &request{Request: hr}, func(to io.Writer) error {
				_, err := io.WriteString(to, strings.Repeat(begin, written))
				return errors.Join(err, errors.New("a mistake in a template"))
			})
			if status == statusGone {
				panic(http.ErrAbortHandler)
			}
		}))
		resp, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		server.Close()
		switch {
		case written == 1 && (err != nil || resp.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), begin)):
			t.Errorf("a page without a part is %s, %v: %s", resp.Status, err, body)
		case written > 1 && err == nil:
			t.Errorf("%d bytes of a page look like a whole one", len(body))
		}
	}
}
