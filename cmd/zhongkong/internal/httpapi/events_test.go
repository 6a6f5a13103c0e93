package httpapi

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// watch opens a stream and returns its lines.
func (s *stage) watch(who string) <-chan string {
	s.t.Helper()
	answer, err := http.DefaultClient.Do(s.request(who, "GET", "/v1/events", ""))
	if err != nil {
		s.t.Fatal(err)
	}
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || !strings.HasPrefix(kind, "text/event-stream") {
		s.t.Fatalf("%d %s, want a stream", answer.StatusCode, kind)
	}
	lines := make(chan string, 100)
	go func() { // ends when the stream does
		defer close(lines)
		defer answer.Body.Close()
		for in := bufio.NewScanner(answer.Body); in.Scan(); {
			lines <- in.Text()
		}
	}()
	return lines
}

// next returns the next event that is not a mere begin.
func next(t *testing.T, lines <-chan string) (kind, data string) {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatal("the stream ended")
			}
			if name, ok := strings.CutPrefix(line, "event: "); ok {
				kind = name
			}
			if d, ok := strings.CutPrefix(line, "data: "); ok && kind != "begun" {
				return kind, d
			}
		case <-timeout:
			t.Fatal("no event came")
		}
	}
}

func TestEventsTellWhatHappensWithoutTokens(t *testing.T) {
	s := newStage(t)
	all, some := s.watch(admin), s.watch(reader)
	s.wait("two streams", func() bool { return s.api.Streams() == 2 })
	s.ask(neighbor, "POST", "/v1/tokens/"+wxb+"/refresh", "")
	s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")

	d := loadDescription(t)
	for _, want := range []struct {
		account string
		lines   <-chan string
	}{{wxb, all}, {wxa, all}, {wxa, some}} {
		kind, data := next(t, want.lines)
		var fields map[string]any
		if err := json.Unmarshal([]byte(data), &fields); err != nil {
			t.Fatal(err)
		}
		if kind != string(coordinator.EventRefreshed) || fields["account"] != want.account || fields["reason"] != "forced" {
			t.Errorf("%s %s, want refreshed of %s", kind, data, want.account)
		}
		if err := d.conforms(d.at(d.root, "components", "schemas", "event"), fields, "event"); err != nil {
			t.Error(err)
		}
		s.nothingIn("the stream", data)
	}
}

func TestEventsTellOfTheStore(t *testing.T) {
	s := newStage(t)
	lines := s.watch(reader)
	s.wait("a stream", func() bool { return s.api.Streams() == 1 })
	s.store.SetDown(true)
	if kind, _ := next(t, lines); kind != "disconnected" {
		t.Errorf("%s, want disconnected", kind)
	}
	s.store.SetDown(false)
	if kind, _ := next(t, lines); kind != "connected" {
		t.Errorf("%s, want connected", kind)
	}
}

func TestStreamsAreLimitedAndEnd(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Limits = Limits{Streams: 3, StreamsEach: 1} })
	lines := s.watch(admin)
	if r := s.ask(admin, "GET", "/v1/events", ""); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("a second stream: %d, want 429", r.status)
	}
	s.api.Stop()
	for range lines { // until it ends
	}
	s.wait("no stream", func() bool { return s.api.Streams() == 0 })
}

// deadlines notes the deadlines that are set for writing.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A deadline of HTTP/2 resets the stream when it passes, also while nothing is written.
func TestAStreamOfHTTP2HasADeadlineOnlyWhileItIsWritten(t *testing.T) {
	s := newStage(t)
	s.api.Stop() // the streams end after the first lines
	for major, want := range map[int]int{1: 1, 2: 2} {
		w := &deadlines{ResponseWriter: httptest.NewRecorder()}
		r := s.request(reader, "GET", "/v1/events", "")
		r.ProtoMajor = major
		s.api.ServeHTTP(w, r)
		if len(w.set) != want || w.set[0].IsZero() || want == 2 && !w.set[1].IsZero() {
			t.Errorf("HTTP/%d: deadlines %v", major, w.set)
		}
	}
}
