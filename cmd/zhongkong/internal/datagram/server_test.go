package datagram

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

const (
	account   = "wx8acdb7df5beb68fd"
	plain     = "92_SecretTokenThatNobodyMaySee"
	someNonce = "0123456789abcdef"
)

var (
	udpKey   = bytes.Repeat([]byte{3}, jwe.KeySize)
	otherKey = bytes.Repeat([]byte{4}, jwe.KeySize)
	from     = netip.MustParseAddrPort("192.0.2.1:4711")
	loopback = netip.MustParseAddrPort("127.0.0.1:0")
)

// book answers every account with the same object.
type book string

func (b book) Answer(auth.Caller, string) []byte { return []byte(b) }

const record = book(`{"name":"` + account + `","access_token":"` + plain + `","generation":7,"expires_in":3600,"stale":false}` + "\n")

func TestQuestionIsAnsweredWithTheRecordAndItsNonce(t *testing.T) {
	s := newServer(t, record)
	q := ask(t, question{account, time.Now(), someNonce}, usualSize)
	got, outcome := s.answer(q, from)
	if outcome != Answered || len(got) > len(q) {
		t.Fatalf("answer() = %d bytes, %s", len(got), outcome)
	}
	want := `{"nonce":"` + someNonce + `",` + strings.TrimSpace(string(record))[1:]
	if text := open(t, got); text != want {
		t.Errorf("answer = %s, want %s", text, want)
	}
}

func TestNothingIsAnsweredThatIsNotProved(t *testing.T) {
	now := time.Now()
	valid := question{account, now, someNonce}
	sealed := func(kid string, key []byte, plain string) []byte {
		s, err := jwe.Seal(key, members(kid), []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(s)
	}
	object := func(sent time.Time, nonce string) string {
		return fmt.Sprintf(`{"appid":%q,"time":%q,"nonce":%q}`, account, sent.Format(time.RFC3339Nano), nonce)
	}
	good := object(now, someNonce)
	swapped := bytes.Replace(ask(t, valid, usualSize), []byte(encodedHeader(t, "ci")), []byte(encodedHeader(t, "other")), 1)
	cases := map[string]struct {
		packet []byte
		want   Outcome
	}{
		"nothing":                     {nil, Malformed},
		"text":                        {[]byte("GET / HTTP/1.1\r\n\r\n"), Malformed},
		"longer than any":             {bytes.Repeat([]byte("A"), MaxSize+1), Malformed},
		"an unknown caller":           {sealed("nobody", udpKey, good), Unknown},
		"a caller without a key":      {sealed("web", udpKey, good), Unknown},
		"another key":                 {sealed("ci", otherKey, good), Forged},
		"another caller's name on it": {swapped, Forged},
		"cut short":                   {ask(t, valid, usualSize)[:900], Malformed},
		"a sealed token":              {mustSeal(t, udpKey, map[string]string{"kid": "ci", "acct": account}, good), Malformed},
		"compressed":                  {mustSeal(t, udpKey, map[string]string{"kid": "ci", "zip": "DEF"}, good), Malformed},
		"older than the window":       {sealed("ci", udpKey, object(now.Add(-Window-time.Second), someNonce)), Stale},
		"newer than the window":       {sealed("ci", udpKey, object(now.Add(Window+time.Minute), someNonce)), Stale},
		"from before the server":      {sealed("ci", udpKey, object(now.Add(-time.Second), someNonce)), Stale},
		"no time":                     {sealed("ci", udpKey, `{"appid":"wx","nonce":"0123456789abcdef"}`), Malformed},
		"a time in words":             {sealed("ci", udpKey, `{"appid":"wx","time":"now","nonce":"0123456789abcdef"}`), Malformed},
		"a short nonce":               {sealed("ci", udpKey, object(now, "short")), Malformed},
		"a long nonce":                {sealed("ci", udpKey, object(now, strings.Repeat("n", 65))), Malformed},
		"a nonce that breaks out":     {sealed("ci", udpKey, object(now, `0123456789","x":"`)), Malformed},
		"an answer sent back":         {sealed("ci", udpKey, `{"nonce":"0123456789abcdef",`+string(record)[1:]), Malformed},
		"an answer that asks too":     {sealed("ci", udpKey, good[:len(good)-1]+`,"error":"x"}`), Malformed},
		"not an object":               {sealed("ci", udpKey, `[1]`), Malformed},
		"null":                        {sealed("ci", udpKey, `null`), Malformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, outcome := newServer(t, record).answer(c.packet, from)
			if got != nil || outcome != c.want {
				t.Errorf("answer() = %d bytes, %s, want nothing and %s", len(got), outcome, c.want)
			}
		})
	}
}

// TestALongPacketIsReadWhole: Windows refuses to read the beginning of one.
func TestALongPacketIsReadWhole(t *testing.T) {
	logged := &logtest.Buffer{}
	outcomes := make(chan Outcome, 1)
	client := serve(t, NewServer(Config{
		Callers: newAuthenticator(t), Answerer: record, Logger: slog.New(slog.NewTextHandler(logged, nil)),
		Observe: func(o Outcome) { outcomes <- o },
	}))
	conn, err := net.Dial("udp", client.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(bytes.Repeat([]byte("A"), 65507)); err != nil { // the longest that UDP over IPv4 has
		t.Skipf("this system sends no packet of that length: %v", err)
	}
	if got := <-outcomes; got != Malformed || !strings.Contains(logged.String(), "65507 bytes") {
		t.Errorf("a packet of 65507 bytes is %s:\n%s", got, logged)
	}
}

func TestAQuestionIsAnsweredOnce(t *testing.T) {
	s := newServer(t, record)
	q := ask(t, question{account, time.Now(), someNonce}, usualSize)
	if _, outcome := s.answer(q, from); outcome != Answered {
		t.Fatal(outcome)
	}
	if got, outcome := s.answer(q, from); got != nil || outcome != Replayed {
		t.Errorf("the same packet again = %d bytes, %s", len(got), outcome)
	}
	again := ask(t, question{account, time.Now(), someNonce}, usualSize)
	if got, outcome := s.answer(again, from); got != nil || outcome != Replayed {
		t.Errorf("the same nonce sealed anew = %d bytes, %s", len(got), outcome)
	}
}

func TestReplaysAreKnownForAsLongAsTheyAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, record)
		for _, ahead := range []time.Duration{0, Window} {
			nonce := fmt.Sprint(someNonce, int(ahead))
			q := ask(t, question{account, time.Now().Add(ahead), nonce}, usualSize)
			if _, outcome := s.answer(q, from); outcome != Answered {
				t.Fatal(outcome)
			}
			for range 3 * 60 {
				time.Sleep(time.Second)
				if got, outcome := s.answer(q, from); got != nil {
					t.Fatalf("a question %v ahead was answered again: %s", ahead, outcome)
				}
			}
		}
		if h := s.replays.of("ci"); len(h.seen) != 0 || len(h.queue) != 0 {
			t.Errorf("%d questions are remembered for good", len(h.seen))
		}
	})
}

func TestReplaysStayKnownWhenTheClockIsSetBack(t *testing.T) {
	began := time.Now()
	h := newReplayCaches(began).of("ci")
	old := question{account, began.Add(10 * time.Second), someNonce}
	if got := h.admit(old, began.Add(10*time.Second)); got != Answered {
		t.Fatal(got)
	}
	later := question{account, began.Add(time.Hour), "0123456789abcdeF"}
	if got := h.admit(later, began.Add(time.Hour)); got != Answered {
		t.Fatal(got)
	}
	// The wall clock says 20 s again, where the old question is fresh.
	if got := h.admit(old, began.Add(20*time.Second)); got != Stale {
		t.Errorf("admit(old question, clock set back) = %s, want %s", got, Stale)
	}
}

// A device starts with a clock that is ahead until the network has told it the time.
func TestQuestionsAreAnsweredAfterTheClockWasSetBackSinceTheStart(t *testing.T) {
	began := time.Now()
	h := newReplayCaches(began).of("ci")
	now := began.Round(0).Add(10*time.Second - 8*time.Hour) // ten seconds after the start
	for _, c := range []struct {
		age  time.Duration
		want Outcome
	}{{time.Second, Answered}, {-Window, Answered}, {11 * time.Second, Stale}, {-Window - time.Second, Stale}} {
		q := question{account, now.Add(-c.age), fmt.Sprintf("%016d", c.age)}
		if got := h.admitAfter(q, now, 10*time.Second); got != c.want {
			t.Errorf("a question %v old: %s, want %s", c.age, got, c.want)
		}
	}
}

func TestAFastClockDoesNotShutOutASlowOneOfTheSameCaller(t *testing.T) {
	began := time.Now()
	h := newReplayCaches(began).of("ci")
	for i := range 200 {
		now := began.Add(Window + time.Duration(i)*time.Second)
		for j, skew := range []time.Duration{Window, -Window + time.Millisecond} {
			q := question{account, now.Add(skew), fmt.Sprintf("%d-%016d", j, i)}
			if got := h.admit(q, now); got != Answered {
				t.Fatalf("after %d s, clock off by %v: %s", i, skew, got)
			}
		}
	}
}

func TestWhenNoMoreNoncesFitNothingIsForgottenEarly(t *testing.T) {
	began := time.Now()
	h := newReplayCaches(began).of("ci")
	at := func(i int) question { return question{account, began, fmt.Sprintf("%016d", i)} }
	for i := range maxRemembered {
		if got := h.admit(at(i), began); got != Answered {
			t.Fatal(got)
		}
	}
	if got := h.admit(at(maxRemembered), began); got != Full {
		t.Errorf("one more = %s, want %s", got, Full)
	}
	if got := h.admit(at(0), began); got != Replayed {
		t.Errorf("the first again = %s, want %s", got, Replayed)
	}
	after := began.Add(rememberFor + time.Second)
	if got := h.admit(question{account, after, someNonce}, after); got != Answered {
		t.Errorf("when they may be forgotten = %s, want %s", got, Answered)
	}
}

func TestAnAnswerIsNeverLargerThanItsQuestion(t *testing.T) {
	large := book(`{"name":"` + account + `","access_token":"` + strings.Repeat("t", 3000) + `"}`)
	seen := map[Outcome]bool{}
	for _, answers := range []book{record, large, "{}"} {
		for size := 0; size < 1400; size += 31 {
			s := newServer(t, answers)
			q := ask(t, question{account, time.Now(), someNonce}, size)
			got, outcome := s.answer(q, from)
			seen[outcome] = true
			if len(got) > len(q) {
				t.Fatalf("%d bytes for %d", len(got), len(q))
			}
			if outcome != TooSmall || got == nil {
				continue
			}
			var w message
			if err := json.Unmarshal([]byte(open(t, got)), &w); err != nil || *w.Error != codeTooSmall || *w.Nonce != someNonce {
				t.Fatalf("answer = %s, %v", open(t, got), err)
			}
			q = ask(t, question{account, time.Now(), someNonce + "2"}, w.Size)
			if got, outcome := s.answer(q, from); outcome != Answered || len(got) > len(q) {
				t.Fatalf("padded to %d as told: %d bytes for %d, %s", w.Size, len(got), len(q), outcome)
			}
		}
	}
	if !seen[Answered] || !seen[TooSmall] {
		t.Errorf("outcomes %v, want both", seen)
	}
}

func TestAnAccountThatIsNotTheCallersIsForbidden(t *testing.T) {
	s := newServer(t, record)
	got, outcome := s.answer(ask(t, question{"wx-other", time.Now(), someNonce}, usualSize), from)
	if text := open(t, got); outcome != Forbidden || strings.Contains(text, plain) || !strings.Contains(text, `"error":"forbidden"`) {
		t.Errorf("answer = %s, %s", text, outcome)
	}
}

func TestABookThatAnswersNonsenseIsNotRepeated(t *testing.T) {
	for _, b := range []book{"", "null", "x", "{", `{"a":1`, `[]`, `"{}"`} {
		got, _ := newServer(t, b).answer(ask(t, question{account, time.Now(), someNonce}, usualSize), from)
		var w message
		if err := json.Unmarshal([]byte(open(t, got)), &w); err != nil || *w.Error != "internal" {
			t.Errorf("book %q: answer = %s", b, open(t, got))
		}
	}
}

func TestPaddingReachesTheSizeAndLittleMore(t *testing.T) {
	for size := 300; size < 1500; size++ {
		q := ask(t, question{account, time.Now(), someNonce}, size)
		if len(q) < size || len(q) > size+16 {
			t.Fatalf("encode(%d) has %d bytes", size, len(q))
		}
	}
}

func TestAFloodIsAFewLinesAndShowsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newServer(t, record)
		lines := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
		s.config.Logger = slog.New(logging.NewLimit(lines, "datagram refused"))
		forged := mustSeal(t, otherKey, members("ci"), plain)
		for range 1000 {
			s.answer(forged, from)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		s.answer(forged, from)
		if lines := strings.Count(out.String(), "\n"); lines != 22 || !strings.Contains(out.String(), "=980") {
			t.Errorf("%d lines: %s", lines, out.String())
		}
		if strings.Contains(out.String(), plain) {
			t.Error("the log shows the token")
		}
	})
}

func FuzzAnswer(f *testing.F) {
	s := newServer(f, record)
	valid, err := question{account, time.Now(), someNonce}.encode("ci", udpKey, usualSize)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid[:700])
	f.Add([]byte(encodedHeader(f, "ci") + "..A.A.A"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if got, outcome := s.answer(packet, from); got != nil {
			t.Errorf("a packet that was not sealed was answered: %s", outcome)
		}
	})
}

func FuzzOpenedQuestion(f *testing.F) {
	s := newServer(f, record)
	f.Add(`{"appid":"wx8acdb7df5beb68fd","time":"2026-11-22T20:00:00.000Z","nonce":"0123456789abcdef"}`)
	f.Add(`{"appid":"x","time":"","nonce":"","pad":"xxxx","error":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		if q, err := decodeQuestion([]byte(text)); err == nil {
			q.Time = time.Now() // let it through
			text = fmt.Sprintf(`{"appid":%q,"time":%q,"nonce":%q}`, q.Account, q.Time.Format(time.RFC3339Nano), q.Nonce)
		}
		sealed, err := jwe.Seal(udpKey, members("ci"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := s.answer([]byte(sealed), from)
		if len(got) > len(sealed) {
			t.Errorf("%d bytes for %d", len(got), len(sealed))
		}
		if got != nil && !json.Valid([]byte(open(t, got))) {
			t.Errorf("answer = %s", open(t, got))
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	s := newServer(b, record)
	packets := make([][]byte, maxRemembered)
	for i := range packets {
		packets[i], _ = question{account, time.Now(), fmt.Sprintf("%016d", i)}.encode("ci", udpKey, usualSize)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.answer(packets[i%len(packets)], from)
	}
}

func newServer(t testing.TB, b book) *Server {
	t.Helper()
	return NewServer(Config{Callers: newAuthenticator(t), Answerer: b})
}

func newAuthenticator(t testing.TB) *auth.Authenticator {
	t.Helper()
	gate, err := auth.New([]auth.User{
		{Name: "ci", UDPKey: udpKey, Accounts: []string{account}},
		{Name: "other", UDPKey: otherKey, Accounts: []string{"*"}},
		{Name: "web", Password: "p", Accounts: []string{"*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return gate
}

func ask(t testing.TB, q question, size int) []byte {
	t.Helper()
	packet, err := q.encode("ci", udpKey, size)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func open(t testing.TB, packet []byte) string {
	t.Helper()
	message, err := jwe.Parse(string(packet), "kid")
	if err != nil {
		t.Fatal(err)
	}
	text, err := message.Open(udpKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mustSeal(t testing.TB, key []byte, members map[string]string, text string) []byte {
	t.Helper()
	sealed, err := jwe.Seal(key, members, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(sealed)
}

func encodedHeader(t testing.TB, kid string) string {
	t.Helper()
	header, _, _ := strings.Cut(string(mustSeal(t, udpKey, members(kid), "")), ".")
	return header
}

func TestACredentialInTheNamesPlaceIsNotLogged(t *testing.T) {
	logged := &logtest.Buffer{}
	s := NewServer(Config{Callers: newAuthenticator(t), Answerer: record, Logger: slog.New(slog.NewTextHandler(logged, nil))})
	key, _ := auth.NewKey()
	packet, err := jwe.Seal(make([]byte, 32), members(key), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, outcome := s.answer([]byte(packet), from); outcome != Unknown {
		t.Errorf("a datagram of nobody is %s", outcome)
	}
	if strings.Contains(logged.String(), key) || !strings.Contains(logged.String(), "datagram refused") {
		t.Errorf("the log shows the key, or no line: %s", logged)
	}
}
