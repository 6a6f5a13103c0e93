package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestEveryAnswerHasTheIDOfItsRequest(t *testing.T) {
	s := newStage(t)
	for what, r := range map[string]reply{
		"a token":         s.ask(admin, "GET", "/v1/tokens/"+wxa, "", "X-Request-Id", "abc-1"),
		"a health probe":  s.ask("", "GET", "/healthz", "", "X-Request-Id", "abc-1"),
		"a refusal":       s.ask("", "GET", "/v1/tokens/"+wxa, "", "X-Request-Id", "abc-1"),
		"an unknown path": s.ask(admin, "GET", "/none", "", "X-Request-Id", "abc-1"),
		"an SDK":          s.ask("", "GET", "/cgi-bin/token", "", "X-Request-Id", "abc-1"),
		"the page":        s.ask(admin, "GET", "/", "", "X-Request-Id", "abc-1"),
	} {
		if got := r.header.Values("X-Request-Id"); len(got) != 1 || got[0] != "abc-1" {
			t.Errorf("%s is answered with the ids %q, want the one of the request", what, got)
		}
	}
	if got := s.ask(admin, "GET", "/healthz", "").header.Get("X-Request-Id"); len(got) != 32 {
		t.Errorf("a request without an id gets %q", got)
	}
	long := strings.Repeat("x", 100)
	if got := s.ask(admin, "GET", "/healthz", "", "X-Request-Id", long).header.Get("X-Request-Id"); got == long {
		t.Error("a long id is taken")
	}
}

func TestTheLinesThatARequestCausesHaveItsID(t *testing.T) {
	s := newStage(t)
	if r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "", "X-Request-Id", "by-hand"); r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	s.ask(reader+"wrong", "GET", "/v1/tokens/"+wxa, "", "X-Request-Id", "a-guess")
	for _, want := range []string{`msg="refresh asked for"`, `msg="token refreshed"`} { // the latter may come after the answer
		s.wait("the id in "+want, func() bool { return hasLine(s.log.String(), want, "request_id=by-hand") })
	}
	if !hasLine(s.log.String(), `msg="caller refused"`, "request_id=a-guess") {
		t.Errorf("the audit line has no id:\n%s", s.log.String())
	}
}

// hasLine reports whether one line of a log has all these words.
func hasLine(log string, words ...string) bool {
	for line := range strings.Lines(log) {
		if hasAll(line, words...) {
			return true
		}
	}
	return false
}

func hasAll(text string, words ...string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}
