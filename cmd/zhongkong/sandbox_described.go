package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// describedLife is how long a token of a describedIssuer lives if the description
// leaves that to the answer.
const describedLife = 2 * time.Hour

// describedIssuer answers each call as the description of an issuer says that a good
// answer looks. It does not check the call: the description is all that is known of
// the issuer, so the check could only agree.
type describedIssuer struct {
	issuer *httpsource.Issuer

	mu    sync.Mutex
	token string // the latest; guarded by mu
	ends  time.Time
}

func (d *describedIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != d.issuer.Request.Method {
		http.Error(w, "the description has another method", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d.answer(time.Now())) // the caller sees a broken answer
}

func (d *describedIssuer) answer(now time.Time) map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.issuer.Answer
	life := describedLife
	if a.Life.Default > 0 {
		life = time.Duration(a.Life.Default)
	}
	same := d.issuer.Repeat == string(coordinator.RepeatSame)
	if !same || d.ends.Sub(now) <= time.Duration(d.issuer.Rollover) {
		d.token, d.ends = "sandbox-"+rand.Text()+rand.Text(), now.Add(life)
	}
	answer := map[string]any{}
	put(answer, a.Token, d.token)
	for _, path := range a.Attributes {
		put(answer, path, "sandbox")
	}
	if len(a.Success) > 0 {
		put(answer, a.Code, a.Success[0])
	}
	switch a.Life.Unit {
	case "at_ms":
		put(answer, a.Life.Field, d.ends.UnixMilli())
	case "at_seconds":
		put(answer, a.Life.Field, d.ends.Unix())
	default:
		put(answer, a.Life.Field, int64(d.ends.Sub(now).Seconds()))
	}
	return answer
}

func (d *describedIssuer) lives(token string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return token == d.token && time.Now().Before(d.ends)
}

// put sets the field of an answer that a path such as "data.token" names; "": none.
func put(answer map[string]any, path string, value any) {
	if path == "" {
		return
	}
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		inner, ok := answer[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			answer[name] = inner
		}
		answer = inner
	}
	answer[names[len(names)-1]] = value
}
