package httpsource_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source/sourcetest"
)

// answering is an issuer that answers each request with the same text.
func answering(status int, body string) http.RoundTripper {
	return silent(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: make(http.Header)}, nil
	})
}

const ourSecret = "a/b+c=d&e"

const maxToken = 32 << 10 // bytes

func ourSource(t *testing.T, rt http.RoundTripper, change func(c *httpsource.Config)) *httpsource.Source {
	t.Helper()
	c := httpsource.Config{Issuer: ours(), Parameters: map[string]string{"id": "me", "secret": ourSecret}, Transport: rt}
	if change != nil {
		change(&c)
	}
	s, err := c.Source()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// life returns a description whose life is described so.
func life(l httpsource.Life) func(c *httpsource.Config) {
	return func(c *httpsource.Config) { c.Issuer.Answer.Life = l }
}

func TestALifeIsReadInEveryForm(t *testing.T) {
	inAnHour := time.Now().Add(time.Hour)
	seconds, atSeconds, atMS := httpsource.Life{Field: "x"}, httpsource.Life{Field: "x", Unit: "at_seconds"}, httpsource.Life{Field: "x", Unit: "at_ms"}
	for _, c := range []struct {
		life  httpsource.Life
		value string // of the field x
		want  time.Duration
		doubt string
	}{
		{seconds, `7200`, 2 * time.Hour, ""},
		{seconds, `"7200"`, 2 * time.Hour, ""},
		{seconds, `" 7200.0 "`, 2 * time.Hour, ""},
		{seconds, `7.2e3`, 2 * time.Hour, ""},
		{seconds, `0.5`, time.Second / 2, ""},
		{seconds, `31622400`, 366 * 24 * time.Hour, ""},
		{seconds, `31622401`, 10 * time.Minute, "above 366 days"},
		{seconds, `1893456000000`, 10 * time.Minute, "above 366 days"},
		{seconds, `1e999`, 10 * time.Minute, "above 366 days"},
		{seconds, `0`, 10 * time.Minute, "no life"},
		{seconds, `-7200`, 10 * time.Minute, "no life"},
		{seconds, `"NaN"`, 10 * time.Minute, "not a number"},
		{seconds, `"2 h"`, 10 * time.Minute, "not a number"},
		{seconds, `null`, 10 * time.Minute, "without x"},
		{seconds, `[7200]`, 10 * time.Minute, "without x"},
		{atMS, fmt.Sprintf(`"%d"`, inAnHour.UnixMilli()), time.Hour, ""},
		{atMS, fmt.Sprint(inAnHour.UnixMilli()), time.Hour, ""},
		{atSeconds, fmt.Sprint(inAnHour.Unix()), time.Hour, ""},
		{atMS, `7200`, 10 * time.Minute, "no life"},
		{atSeconds, fmt.Sprint(inAnHour.UnixMilli()), 10 * time.Minute, "above 366 days"},
		{httpsource.Life{Default: httpsource.Duration(time.Hour)}, `7200`, time.Hour, ""},
	} {
		s := ourSource(t, answering(200, `{"access_token":"t-1","x":`+c.value+`}`), life(c.life))
		got, err := s.Fetch(t.Context(), ask(""))
		off := (got.Lifetime - c.want).Abs()
		if err != nil || off > 0 && c.life.Unit == "" || off > 30*time.Second || !strings.Contains(got.Doubt, c.doubt) || (c.doubt == "") != (got.Doubt == "") {
			t.Errorf("%+v %s: %v, doubt %q, %v, want %v", c.life, c.value, got.Lifetime, got.Doubt, err, c.want)
		}
	}
}

func TestATokenWithACodeIsTakenUnlessItIsTheOldOne(t *testing.T) {
	s := ourSource(t, answering(200, `{"access_token":"t-1","expires_in":7200,"code":17,"message":"odd"}`), nil)
	got, err := s.Fetch(t.Context(), ask("t-0"))
	if err != nil || got.Token.Reveal() != "t-1" || got.Doubt != "a token with code 17" {
		t.Errorf("Fetch() = %+v, %v", got, err)
	}
	_, err = s.Fetch(t.Context(), ask("t-1"))
	var failed *coordinator.FetchError
	if !errors.As(err, &failed) || failed.Code != "17" || failed.Kind != coordinator.FailedBusy {
		t.Errorf("Fetch() = %v, want the code: the token is the old one", err)
	}
	noLife := ourSource(t, answering(200, `{"access_token":"none","code":17}`), nil)
	if _, err = noLife.Fetch(t.Context(), ask("")); !errors.As(err, &failed) || failed.Code != "17" {
		t.Errorf("Fetch() = %v, want the code: a token without a life is none", err)
	}
}

func TestOnlyATokenIsBelievedOfABrokenAnswer(t *testing.T) {
	for body, want := range map[string]string{
		`{"access_token":"t-1","expires_in":7200`:                                      "",
		`{"access_token":"t-1","expires_in":72`:                                        "",
		`{"expires_in":7200,"access_token":"t-1","code":4001`:                          "",
		`{"code":4001,"message":"no`:                                                   "cut off or broken",
		`{"access_token":"t-`:                                                          "cut off or broken",
		strings.Repeat(`{"a":[`, 40):                                                   "cut off or broken",
		`{"access_token":{"x":1}}`:                                                     "not a string",
		`{"access_token":"a b","expires_in":7200}`:                                     "blanks",
		`{"access_token":"` + strings.Repeat("x", maxToken+1) + `","expires_in":7200}`: "a token of 32769 characters",
		`{"code":0}`: "neither a token nor a code",
		`[]`:         "not a JSON object",
		`<p>`:        "a page instead of JSON",
	} {
		got, err := ourSource(t, answering(200, body), nil).Fetch(t.Context(), ask(""))
		if want == "" && (err != nil || got.Token.Reveal() != "t-1") {
			t.Errorf("%.80s: %v", body, err)
		}
		var failed *coordinator.FetchError
		if want != "" && (!errors.As(err, &failed) || failed.Kind != coordinator.FailedUnknown || !strings.Contains(failed.Message, want)) {
			t.Errorf("%.80s: %v, want %s", body, err, want)
		}
	}
}

func TestAnAnswerCountsIfItIsWholeWithinTheLimit(t *testing.T) {
	sourcetest.Limit(t, httpsource.MaxBody, `{"access_token":"t-1","expires_in":7200}`, "t-1", func(body string) (string, error) {
		got, err := ourSource(t, answering(200, body), nil).Fetch(t.Context(), ask(""))
		return got.Token.Reveal(), err
	})
}

func TestAnErrorSaysWhatToDo(t *testing.T) {
	s := ourSource(t, answering(401, `{"code":7,"message":"secret `+ourSecret+` is\nwrong"}`), func(c *httpsource.Config) {
		c.Issuer.Codes = []httpsource.Class{{Code: "7", Kind: "refused", Meaning: "the secret is wrong", Hint: "check the secret"}}
	})
	_, err := s.Fetch(t.Context(), ask(""))
	const want = "issuer.example/token answered secret [redacted] is wrong; check the secret (code 7)"
	if err == nil || err.Error() != want {
		t.Errorf("Fetch() = %v, want %s", err, want)
	}
}

func TestAttributesGoWithTheToken(t *testing.T) {
	body := `{"access_token":"t-1","expires_in":7200,"api":{"url":"https://eu.example"},"level":3,"none":null,"list":[1]}`
	s := ourSource(t, answering(200, body), func(c *httpsource.Config) {
		c.Issuer.Answer.Attributes = map[string]string{"instance_url": "api.url", "level": "level", "none": "none", "list": "list"}
	})
	got, err := s.Fetch(t.Context(), ask(""))
	if err != nil || fmt.Sprint(got.Attributes) != "map[instance_url:https://eu.example level:3]" {
		t.Errorf("attributes %v, %v", got.Attributes, err)
	}
	long := ourSource(t, answering(200, `{"access_token":"t-1","expires_in":7200,"x":"`+strings.Repeat("x", coordinator.MaxAttributes)+`"}`), func(c *httpsource.Config) {
		c.Issuer.Answer.Attributes = map[string]string{"x": "x"}
	})
	if got, err = long.Fetch(t.Context(), ask("")); err != nil || got.Attributes != nil || got.Doubt == "" {
		t.Errorf("too many attributes: %d, doubt %q, %v", len(got.Attributes), got.Doubt, err)
	}
}

func TestTheRequestIsBuiltFromTemplates(t *testing.T) {
	var line, body string
	var header http.Header
	rt := silent(func(req *http.Request) (*http.Response, error) {
		line, header, body = req.Method+" "+req.URL.String(), req.Header, ""
		if req.Body != nil {
			text, _ := io.ReadAll(req.Body)
			body = string(text)
		}
		return answering(200, `{"access_token":"t-1","expires_in":7200}`).RoundTrip(req)
	})
	s := ourSource(t, rt, func(c *httpsource.Config) {
		c.BaseURL = "http://127.0.0.1:9090/relay/"
		r := &c.Issuer.Request
		r.URL = "https://{id}.example/{secret}/token?v={secret}&n=1"
		r.Body, r.Fields = "json", map[string]string{"secret": "{secret}", "n": "1"}
		r.Numbers = []string{"n"}
		r.Headers = map[string]string{"X-Key": "k {secret}", "Content-Type": "application/json; charset=utf-8"}
	})
	if _, err := s.Fetch(t.Context(), ask("")); err != nil {
		t.Fatal(err)
	}
	if want := "POST http://127.0.0.1:9090/relay/a%2Fb+c=d&e/token?v=a%2Fb%2Bc%3Dd%26e&n=1"; line != want {
		t.Errorf("%s, want %s", line, want)
	}
	if want := `{"n":1,"secret":"a/b+c=d&e"}`; body != want {
		t.Errorf("%s, want %s", body, want)
	}
	if header.Get("X-Key") != "k "+ourSecret || header.Get("Content-Type") != "application/json; charset=utf-8" || header.Get("User-Agent") != "zhongkong" {
		t.Errorf("headers %v", header)
	}
}

func TestNothingIsSentOnceTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := ourSource(t, failing(errors.New("it was sent")), nil)
	_, err := s.Fetch(ctx, ask(""))
	var failed *coordinator.FetchError
	if !errors.As(err, &failed) || failed.Kind != coordinator.FailedBusy || failed.Calls != 0 {
		t.Errorf("Fetch() = %#v", err)
	}
}

func TestARolloverSaysWhenToAskAgain(t *testing.T) {
	for seconds, want := range map[string]time.Duration{"7200": 6902 * time.Second, "300": 30 * time.Second, "20": 10 * time.Second} {
		s := ourSource(t, answering(200, `{"access_token":"t-1","expires_in":`+seconds+`}`), func(c *httpsource.Config) {
			c.Issuer.Repeat, c.Issuer.Rollover = "same", httpsource.Duration(5*time.Minute)
		})
		if got, err := s.Fetch(t.Context(), ask("")); err != nil || got.RefreshIn != want {
			t.Errorf("with %s s left: %v, %v, want %v", seconds, got.RefreshIn, err, want)
		}
	}
}

func TestAnIssuerThatRepeatsIsAskedBeforeTheRecordIsWithdrawn(t *testing.T) {
	for _, rollover := range []time.Duration{0, time.Second, 10 * time.Second, 29 * time.Second, 33 * time.Second, time.Minute} {
		for _, life := range []time.Duration{2 * time.Second, 20 * time.Second, time.Minute, 9 * time.Minute, 2 * time.Hour} {
			body := fmt.Sprintf(`{"access_token":"t-1","expires_in":%d}`, int(life.Seconds()))
			s := ourSource(t, answering(200, body), func(c *httpsource.Config) {
				c.Issuer.Repeat, c.Issuer.Rollover = "same", httpsource.Duration(rollover)
			})
			got, err := s.Fetch(t.Context(), ask(""))
			if err != nil || got.RefreshIn >= life-coordinator.Margin(life) {
				t.Errorf("with %v left, rollover %v: asked again in %v, %v", life, rollover, got.RefreshIn, err)
			}
			end := life - rollover + 2*time.Second
			if got, err = s.Fetch(t.Context(), ask("t-1")); err != nil || rollover == 0 && life < time.Hour && got.RefreshIn != end {
				t.Errorf("known, with %v left: asked again in %v, %v, want %v", life, got.RefreshIn, err, end)
			}
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"t-1","expires_in":7200}`, `{"code":7,"message":"x"}`, `null`, `[{"access_token":"t-1"}]`,
		`{"access_token":"t-1","expires_in":"7.2e3","code":"0"} <!-- -->`, `<{"access_token":"t-1","expires_in":7.5,`,
		"\xef\xbb\xbf" + `{"code":false,"access_token":"secret-secret","expires_in":-1}`, "{\"code\":1,\"message\":\"\x00\xff secret-secret\"}", "\x1f\x8b\x08",
	} {
		f.Add(200, seed)
		f.Add(502, seed)
	}
	const secret = "secret-secret"
	f.Fuzz(func(t *testing.T, status int, body string) {
		s, err := httpsource.Config{Issuer: ours(), Parameters: map[string]string{"id": "me", "secret": secret}, Transport: answering(status, body)}.Source()
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Fetch(t.Context(), ask("current-token"))
		token := got.Token.Reveal()
		if err == nil {
			if token == "" || !httpsource.Printable(token) || len(token) > maxToken || got.Lifetime <= 0 || got.Lifetime > coordinator.MaxLifetime {
				t.Errorf("%q for %v", token, got.Lifetime)
			}
			if strings.Contains(got.Doubt, secret) {
				t.Errorf("doubt %q", got.Doubt)
			}
			return
		}
		var failed *coordinator.FetchError
		if !errors.As(err, &failed) || failed.Calls != 1 || failed.Kind == "" || failed.Kind == coordinator.FailedRefused {
			t.Errorf("%q: %#v", body, err)
		}
		if text := err.Error(); strings.Contains(text, secret) || strings.ContainsAny(text, "\x00\n\r\x1b") || len(text) > 4*(2*httpsource.MaxMessage+100) {
			t.Errorf("text = %q", text)
		}
	})
}
