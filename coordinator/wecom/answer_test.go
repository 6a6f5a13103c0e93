package wecom

import (
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source/sourcetest"
)

func TestAnAnswerCountsIfItIsWholeWithinTheLimit(t *testing.T) {
	sourcetest.Limit(t, httpsource.MaxBody, `{"access_token":"t-1","expires_in":7200}`, "t-1", func(body string) (string, error) {
		a, err := request{endpoint: endpoint{member: "access_token"}}.parse([]byte(body))
		return a.value, err
	})
}

func TestAValueThatCannotBeServedIsNone(t *testing.T) {
	for value, want := range map[string]string{
		"a b":                         "access_token with blanks, control or non-ASCII characters",
		strings.Repeat("x", 32<<10+1): "access_token of 32769 characters",
		strings.Repeat("x", 32<<10):   "",
	} {
		a, err := request{endpoint: endpoint{member: "access_token"}}.parse([]byte(`{"access_token":"` + value + `"}`))
		if want == "" && (err != nil || a.value != value) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%.60q: %v, want %q", value, err, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"errcode":0,"errmsg":"ok","access_token":"a","expires_in":7200}`, `{"access_token":"a","expires_in":"7.2e3"}`,
		`{"errcode":40001,"errmsg":"x, hint: [1], from ip: ::1, more","access_token":""}`, "\xef\xbb\xbf{}", "\x1f\x8b", `{"errcode":1e999}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q := request{endpoint: endpoint{member: "access_token"}}
		a, err := q.parse(body)
		switch {
		case err != nil:
			if a.value != "" || a.code != 0 {
				t.Errorf("%q: %+v with %v", body, a, err)
			}
		case a.value == "" && a.code == 0:
			t.Errorf("%q: neither a value nor an errcode", body)
		case !httpsource.Printable(a.value) || a.life < 0 || a.life > coordinator.MaxLifetime || a.life > 0 && a.life < time.Second:
			t.Errorf("%q: %+v", body, a)
		}
		_ = newError(a.code, a.message, 200)
	})
}
