package wecom

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

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
