package wechat

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/internal/source/sourcetest"
)

func TestAnswers(t *testing.T) {
	const (
		token   = "a token"
		refusal = "a refusal"
		both    = "both"
		careful = "a token of a guessed life"
	)
	const issued = `"access_token":"90_a","expires_in":7200`
	unchecked := zipped(`{` + issued + `}`)
	unchecked = unchecked[:len(unchecked)-8]          // no checksum
	for _, tt := range []struct{ body, want string }{ // what else is wanted is the error
		{`{"access_token":"90_a-b","expires_in":7200}`, token},
		{` {"access_token":"90_a","expires_in":1} ` + "\n", token},
		{`{` + issued + `,"errcode":0,"errmsg":"ok"}`, token},
		{`{` + issued + `,"errcode":null,"errmsg":null,"new_field":{"x":[1]}}`, token},
		{`{` + issued + `,"errcode":"0"}`, token},
		{`{` + issued + `,"errcode":"","errmsg":{"x":1}}`, token},
		{`{` + issued + `,"errcode":false}`, token},
		{`{"access_token":"` + strings.Repeat("x", source.MaxToken) + `","expires_in":31536000}`, token},
		{`{"access_token":"90_a","expires_in":"7200"}`, token},
		{`{"access_token":"90_a","expires_in":" 7200.0 "}`, token},
		{`{"access_token":"90_a","expires_in":7200.5}`, token},
		{`{"access_token":"90_a","expires_in":7.2e3}`, token},
		{`{"access_token":" 90_a\n","expires_in":7200}`, token},
		{`{"access_token":"former","access_token":"90_a","expires_in":1,"expires_in":7200}`, token},
		{`{` + issued + `,"access_token":null,"expires_in":"?"}`, token},
		{"\xef\xbb\xbf{" + issued + "}", token},
		{"\r\n\xef\xbb\xbf \n{" + issued + "}\n\n", token},
		{`{` + issued + `}{}`, token},
		{`{` + issued + `}x`, token},
		{`{` + issued + `}` + strings.Repeat(" ", httpsource.MaxBody), token},
		{`{` + issued + `}` + "\n<!-- {proxy} -->", token},
		{`<!-- {proxy} -->{` + issued + `}`, token},
		{`<!-- proxy -->{"x":{"y":1},` + issued + `}`, token},
		{`[{` + issued + `}]`, token},
		{`{"expires_in":7200,"access_token":"90_a"`, token},
		{`{` + issued + `,"errmsg":"o`, token},
		{`{` + issued + `,errmsg:ok}`, token},
		{zipped(`{` + issued + `}`), token},
		{unchecked, token},

		{`{"errcode":40013,"errmsg":"invalid appid"}`, refusal},
		{`{"errcode":"40013","errmsg":["invalid appid"]}`, refusal},
		{`{"errcode":4.0013e4}`, refusal},
		{`{"errcode":"-1"}`, refusal},
		{`{"errcode":-1}`, refusal},
		{"\xef\xbb\xbf" + `{"errcode":40013}` + "\x00\x00", refusal},
		{`<!-- {proxy} --> {"errcode":40013}`, refusal},
		{`{"errcode":40013,"errmsg":"x","access_token":"","expires_in":0}`, refusal},
		{`{"errcode":40013,"access_token":"none"}`, refusal},
		{`{"errcode":40013,"access_token":"90_a","expires_in":-1}`, refusal},
		{"{\"errcode\":-1,\"errmsg\":\"\xcf\xb5\xcd\xb3\"}", refusal}, // GBK

		{`{` + issued + `,"errcode":45009}`, both},
		{`{` + issued + `,"errcode":"200"}`, both},

		{``, "an empty body"},
		{" \xef\xbb\xbf ", "an empty body"},
		{`null`, "something that is not a JSON object"},
		{`[]`, "something that is not a JSON object"},
		{`"90_a"`, "something that is not a JSON object"},
		{`0`, "something that is not a JSON object"},
		{`<html>`, "a page instead of JSON"},
		{`<script>{"errcode":0}</script>`, "a page instead of JSON"},
		{strings.Repeat(" ", httpsource.MaxBody) + `{"errcode":40013}`, "more than 65536 bytes"},
		{`{"access_token":"90_a`, "JSON that is cut off or broken"},
		{`{"errcode":40013`, "JSON that is cut off or broken"},
		{`{"errcode":40013,"errmsg":"in`, "JSON that is cut off or broken"},
		{`{errcode:40013}`, "JSON that is cut off or broken"},
		{"\x1f\x8b\x00\x00", "something that is not a JSON object"},
		{`{}`, "neither a token nor an errcode"},
		{`{"errcode":0}`, "neither a token nor an errcode"},
		{`{"Access_Token":"90_a","Expires_In":7200}`, "neither a token nor an errcode"},
		{`{"access_token":null,"expires_in":7200}`, "neither a token nor an errcode"},
		{`{"access_token":" ","expires_in":7200}`, "neither a token nor an errcode"},
		{`{"access_token":12,"expires_in":7200}`, "a token that is not a string"},
		{`{"errcode":40013.5}`, "an errcode that is not a whole number"},
		{`{"errcode":"x"}`, "an errcode that is not a whole number"},
		{`{"errcode":1e300}`, "an errcode that is not a whole number"},
		{`{"access_token":"90_a"}`, careful},
		{`{"access_token":"90_a","expires_in":null}`, careful},
		{`{"access_token":"90_a","expires_in":72`, careful},
		{`{"access_token":"90_a","expires_in":0}`, careful},
		{`{"access_token":"90_a","expires_in":-7200}`, careful},
		{`{"access_token":"90_a","expires_in":"-1e300"}`, careful},
		{`{"access_token":"90_a","expires_in":"NaN"}`, careful},
		{`{"access_token":"90_a","expires_in":"2 h"}`, careful},
		{`{"access_token":"90_a","expires_in":[7200]}`, careful},
		{`{"access_token":"90_a","expires_in":1e999}`, careful},
		{`{"access_token":"90_a","expires_in":9223372036854775807}`, careful},
		{`{"access_token":"90_a","expires_in":"1893456000000"}`, careful},
		{`{"access_token":"90 a","expires_in":7200}`, "a token with blanks, control or non-ASCII characters"},
		{`{"access_token":"90_é","expires_in":7200}`, "a token with blanks, control or non-ASCII characters"},
		{`{"access_token":"` + strings.Repeat("x", source.MaxToken+1) + `","expires_in":7200}`, "a token of 32769 characters"},
	} {
		g, refused, err := answered(http.StatusOK, tt.body).issued()
		got := token
		switch {
		case err != nil:
			got = err.Error()
		case refused != nil && g.token != "":
			got = both
		case refused != nil:
			got = refusal
		case g.doubt != "":
			got = careful
		}
		if got != tt.want || (got == token || got == both || got == careful) != (g.token != "") || (got == careful) != (g.life == source.CautiousLife) || g.token == "former" {
			t.Errorf("%.80q: %s (%v), want %s", tt.body, got, refused, tt.want)
		}
	}
}

func TestAnAnswerCountsIfItIsWholeWithinTheLimit(t *testing.T) {
	sourcetest.Limit(t, httpsource.MaxBody, `{"access_token":"t-1","expires_in":7200}`, "t-1", func(body string) (string, error) {
		a, err := parseAnswer(accessToken, []byte(body))
		return a.token, err
	})
}

func TestALifeIsReadInEveryForm(t *testing.T) {
	for form, want := range map[string]time.Duration{
		`7200`: 2 * time.Hour, `"7200"`: 2 * time.Hour, `7200.0`: 2 * time.Hour, `"7.2E+3"`: 2 * time.Hour,
		`345`: 345 * time.Second, `0.5`: time.Second / 2, `31622400`: maxLife,
	} {
		g, _, err := answered(http.StatusOK, `{"access_token":"90_a","expires_in":`+form+`}`).issued()
		if err != nil || g.life != want {
			t.Errorf("%s: %v, %v, want %v", form, g.life, err, want)
		}
	}
}

// answered is an answer of WeChat's, with secrets that it may echo.
func answered(status int, body string, secrets ...string) reply {
	return reply{member: accessToken, Response: httpsource.Response{Status: status, Body: []byte(body)}, secrets: secrets}
}

func zipped(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"90_a","expires_in":7200}`, `{"errcode":40164,"errmsg":"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: 1-2-3"}`,
		`null`, `[]`, `{"access_token":"secret-secret","expires_in":-1}`, "{\"errcode\":1,\"errmsg\":\"\x00\xff secret-secret\"}", `{"errcode":1,"errmsg":"secret%2Dsecret"}`,
		"\xef\xbb\xbf" + `{"errcode":"40013","access_token":"90_a","expires_in":"7.2e3"} <!-- -->`, zipped(`{"errcode":"-1"}`), `<{"access_token":"90_a","expires_in":7.5,`,
	} {
		f.Add(200, seed)
		f.Add(502, seed)
	}
	const secret = "secret-secret"
	f.Fuzz(func(t *testing.T, status int, body string) {
		g, refused, err := answered(status, body, secret).issued()
		if g != (issued{}) && (g.token == "" || !httpsource.Printable(g.token) || len(g.token) > source.MaxToken || g.life <= 0 || g.life > maxLife) {
			t.Errorf("grant %q for %v", g.token, g.life)
		}
		if refused != nil {
			if refused.Code == 0 {
				t.Error("a refusal with errcode 0")
			}
			class := Classify(refused.Code)
			text := source.Advice(refused.Message, class.Meaning, class.Hint)
			if strings.Contains(text, secret) || strings.ContainsAny(text, "\x00\n\r\x1b") || len(refused.Message) > 4*(httpsource.MaxMessage+3) {
				t.Errorf("text = %q", text)
			}
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error quotes the answer: %v", err)
		}
		if (err == nil) != (refused != nil || g != issued{}) || err != nil && g != (issued{}) {
			t.Errorf("%v, %v and %v of %q", g != issued{}, refused, err, body)
		}
	})
}

func FuzzATokenIsTakenWhateverIsAroundIt(f *testing.F) {
	f.Add("", "", "", 7200, 200)
	f.Add("\xef\xbb\xbf", `"errcode":"0",`, "\n<!-- proxy -->", 7200, 203)
	f.Add("<p>", `"errmsg":{"x":1},"errcode":-1,`, "}}", 1, 500)
	f.Fuzz(func(t *testing.T, before, members, after string, seconds, status int) {
		var own map[string]any
		if json.Unmarshal([]byte("{"+members+`"":0}`), &own) != nil || own["access_token"] != nil || own["expires_in"] != nil {
			members = ""
		}
		if len(before)+len(members) > httpsource.MaxBody/2 || strings.Contains(before, "{") || strings.HasPrefix(before, source.GzipMagic) {
			return // an object of its own
		}
		seconds = 1 + int(uint(seconds)%uint(maxLife.Seconds()))
		for _, life := range []string{fmt.Sprint(seconds), fmt.Sprintf("%d.0", seconds), fmt.Sprintf("%q", fmt.Sprint(seconds)), fmt.Sprintf("%de0", seconds)} {
			body := before + "{" + members + `"access_token":"90_a","expires_in":` + life + "}" + after
			g, _, err := answered(status, body).issued()
			if err != nil || g.token != "90_a" || g.life != time.Duration(seconds)*time.Second {
				t.Errorf("%q: %q for %v, %v", body, g.token, g.life, err)
			}
		}
	})
}

func TestStableRefreshIsNeitherEarlyNorConstant(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		7200 * time.Second: 6905 * time.Second,
		600 * time.Second:  305 * time.Second,
		345 * time.Second:  50 * time.Second,
		301 * time.Second:  30 * time.Second,
		300 * time.Second:  30 * time.Second,
		299 * time.Second:  30 * time.Second,
		20 * time.Second:   10 * time.Second,
		time.Second:        500 * time.Millisecond,
	} {
		if got := stableRefreshIn(left); got != want {
			t.Errorf("with %v left: %v, want %v", left, got, want)
		}
	}
}

func TestTheSeenAddressIsFoundInEveryWording(t *testing.T) {
	for message, want := range map[string]string{
		"invalid ip 118.190.42.90 ipv6 ::ffff:118.190.42.90, not in whitelist rid: 60196b9b-4c5ba79c-066b49c8": "118.190.42.90",
		"invalid ip 1.2.3.4, not in whitelist hint: [3yfuHA0202nfo1]":                                          "1.2.3.4",
		"invalid ip 2001:db8::1, not in whitelist rid: 1-2-3":                                                  "2001:db8::1",
		"invalid ip ::ffff:1.2.3.4, not in whitelist":                                                          "1.2.3.4",
		"invalid ip  ipv6 2001:db8::1, not in whitelist":                                                       "",
		"invalid ip nonsense ipv6 2001:db8::2, not in whitelist":                                               "2001:db8::2",
		"something else": "",
	} {
		if got := newError(codeNotListed, message, http.StatusOK).Address; got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
}

func TestCodesAreSortedAndFound(t *testing.T) {
	last := -1 << 31
	for _, c := range Codes() {
		if c.Code <= last {
			t.Errorf("%d follows %d", c.Code, last)
		}
		last = c.Code
		if got := Classify(c.Code); got != c {
			t.Errorf("Classify(%d) = %v, want %v", c.Code, got, c)
		}
		if c.Meaning == "" {
			t.Errorf("%d means nothing", c.Code)
		}
	}
	if unknown := Classify(4711); unknown.Kind != "busy" || unknown.Hint == "" {
		t.Errorf("Classify(4711) = %+v", unknown)
	}
}

func TestBusinessCodes(t *testing.T) {
	for code, rejected := range map[int]bool{
		40001: true, 40014: true, 42001: true,
		0: false, -1: false, 42007: false, 41001: false, 45009: false, 48001: false, 42006: false, 45011: false, 48004: false, 61007: false,
	} {
		if got := Rejected(&Error{Code: code}); got != rejected {
			t.Errorf("Rejected(errcode %d) = %v", code, got)
		}
	}
}

func TestTheDayIsReckonedByWeChatsClock(t *testing.T) {
	header := http.Header{"Date": {"Sun, 01 Mar 2026 15:00:00 GMT"}} // 23:00 in China
	r := reply{Response: httpsource.Response{Header: header}}
	if got := source.UntilQuotaReset(r.Now()); got != time.Hour {
		t.Errorf("by the Date of the answer: %v, want 1h", got)
	}
}
