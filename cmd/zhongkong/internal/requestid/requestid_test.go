package requestid_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

func assign(given ...string) (id string, answer http.Header) {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	for _, one := range given {
		r.Header.Add(requestid.Header, one)
	}
	return requestid.Assign(w, r), w.Header()
}

func TestAnIDOfTheClientIsTakenIfItIsShortAndPrintable(t *testing.T) {
	own := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for _, given := range []string{"a", "9f1c-7", "Root=1-67891233-abcdef", strings.Repeat("~", 64)} {
		id, answer := assign(given)
		if id != given || answer.Get(requestid.Header) != given {
			t.Errorf("of %q: %q, answered %q", given, id, answer.Get(requestid.Header))
		}
	}
	for _, given := range [][]string{nil, {""}, {strings.Repeat("a", 65)}, {"a b"}, {"a\x7f"}, {"号"}, {"a", "b"}} {
		id, answer := assign(given...)
		if !own.MatchString(id) || answer.Get(requestid.Header) != id || len(answer[requestid.Header]) != 1 {
			t.Errorf("of %q: %q, answered %q: want a new one", given, id, answer[requestid.Header])
		}
	}
}

func TestIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id, _ := assign()
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
	}
}

func TestARequestKeepsItsID(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	if first, second := requestid.Assign(w, r), requestid.Assign(w, r); first != second {
		t.Errorf("%s, then %s", first, second)
	}
}

func TestLinesHaveTheIDOfTheirContext(t *testing.T) {
	var out strings.Builder
	log := slog.New(requestid.Handler{Handler: slog.NewTextHandler(&out, nil)}).With("part", 1)
	log.InfoContext(requestid.With(context.Background(), "abc"), "one")
	log.Info("two")
	log.WithGroup("g").InfoContext(requestid.With(context.Background(), "def"), "three")
	for _, want := range []string{"msg=one part=1 request_id=abc\n", "msg=two part=1\n", "msg=three part=1 g.request_id=def\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
