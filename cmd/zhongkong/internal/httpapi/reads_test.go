package httpapi

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
)

// reads returns what Reads tells, as "caller account": times.
func (s *stage) reads() map[string]uint64 {
	all := map[string]uint64{}
	s.api.Reads(func(caller, account string, n uint64) { all[caller+" "+account] += n })
	return all
}

func TestWhoReadsWhichTokenIsCounted(t *testing.T) {
	gate := newCallers(t)
	s := newStage(t, func(c *Config) { c.Callers = gate })
	path := "/v1/tokens/" + wxa
	tag := s.ask(admin, "GET", path, "").header.Get("ETag")
	s.ask(admin, "GET", path, "", "If-None-Match", tag) // 304: it has the token already
	s.ask(admin, "GET", path+"?after=9007199254740991", "")
	s.ask("admin:wrong", "GET", path, "")
	s.ask(reader, "GET", "/v1/tokens/"+wxb, "") // forbidden
	s.ask(reader, "GET", path, "")
	s.ask("", "GET", "/cgi-bin/token?grant_type=client_credential&appid="+wxa+"&secret="+reader, "")
	s.ask("", "POST", "/GetToken", "name=neighbor&password=neighbor-password")
	neighbor, _ := gate.Find("neighbor")
	s.api.Answer(neighbor, wxb)
	want := map[string]uint64{"admin " + wxa: 1, "reader " + wxa: 2, "neighbor " + wxb: 2}
	if got := s.reads(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCallersOfAllAccountsSeeWhoReads(t *testing.T) {
	s := newStage(t)
	s.ask(reader, "GET", "/v1/tokens/"+wxa, "")
	s.ask(admin, "GET", "/v1/tokens/"+wxa, "")
	state := decodeStrictly[wire.Account](t, "state", s.ask(admin, "GET", "/v1/accounts/"+wxa, "").body)
	if len(state.Readers) != 2 || state.Readers[0].Caller != "admin" || state.Readers[1].Caller != "reader" || state.Readers[1].Reads != 1 ||
		time.Since(state.Readers[1].LastRead.Time).Abs() > time.Minute {
		t.Errorf("readers %+v, want admin and reader, just now", state.Readers)
	}
	words := []string{"Callers who read the token", `<span class="host">reader</span>`, "× 1"}
	if html := s.ask(admin, "GET", "/accounts/"+wxa, "", "Accept", "text/html").body; !hasAll(html, words...) {
		t.Errorf("the page lacks one of %q", words)
	}
	if html := s.ask(reader, "GET", "/accounts/"+wxa, "", "Accept", "text/html").body; strings.Contains(html, words[0]) {
		t.Error("the page tells a caller of one account")
	}
	if state := decodeStrictly[wire.Account](t, "state", s.ask(reader, "GET", "/v1/accounts/"+wxa, "").body); state.Readers != nil {
		t.Errorf("a caller of one account is told %+v", state.Readers)
	}
}

func TestReadersBeyondTheLimitAreCountedTogether(t *testing.T) {
	var all readCounts
	reads := accountReads{all: &all}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range maxReaders + 50 {
				reads.count(fmt.Sprint((i+worker*100)%(maxReaders+50)), 1)
			}
		})
	}
	wg.Wait()
	var n uint64
	callers := 0
	reads.each(func(_ string, c *readCount) { callers++; n += c.n.Load() })
	if other := all.other.n.Load(); callers != maxReaders || n != 4*maxReaders || other != 4*50 {
		t.Errorf("%d callers with %d reads, %d others; want %d with %d, %d", callers, n, other, maxReaders, 4*maxReaders, 4*50)
	}
	reads.forget()
	if left := all.pairs.Load(); left != 0 {
		t.Errorf("%d pairs are left", left)
	}
}
