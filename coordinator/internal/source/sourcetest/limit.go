// Package sourcetest has tests that every source is to pass.
package sourcetest

import (
	"fmt"
	"strings"
	"testing"
)

// Limit tests how an answer is read that is longer than limit bytes: it counts if it is
// whole within them. whole is an answer, read returns of it what want is.
func Limit(t *testing.T, limit int, whole, want string, read func(body string) (got string, err error)) {
	t.Helper()
	much, tooLong := strings.Repeat(" ", limit), fmt.Sprintf("more than %d bytes", limit)
	for _, body := range []string{whole + much, whole + much + "x", much[len(whole):] + whole} {
		if got, err := read(body); got != want || err != nil {
			t.Errorf("%.60q: %q, %v, want %q", body, got, err, want)
		}
	}
	for _, body := range []string{much + whole, `{"x":"` + much + whole[1:], "<p>" + much} {
		if _, err := read(body); err == nil || !strings.Contains(err.Error(), tooLong) {
			t.Errorf("%.60q: %v, want %q", body, err, tooLong)
		}
	}
}
