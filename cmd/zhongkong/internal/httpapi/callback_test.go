package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// pushes is a Callback that answers with what it was given, or with an error.
type pushes struct{ err error }

func (p pushes) Callback(ctx context.Context, method string, query url.Values, body []byte) (string, error) {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > callbackTimeout {
		return "", errors.New("the time is not limited")
	}
	return fmt.Sprintf("%s %s %d", method, query.Get("nonce"), len(body)), p.err
}

// takesPushes gives the stage accounts whose pushes are taken, or fail.
func takesPushes(c *Config) {
	c.Directory = pushed{c.Directory, map[string]error{
		wxa:         nil,
		"malformed": fmt.Errorf("%w: it is cut off", msgcrypt.ErrMalformed),
		"useless":   fmt.Errorf("%w: it has no CreateTime", msgcrypt.ErrEvent),
		"forged":    msgcrypt.ErrSignature,
		"locked":    msgcrypt.ErrKey,
		"foreign":   msgcrypt.ErrReceiver,
		"away":      errors.New("Redis is away: internal detail"),
	}}
}

// pushed is a Directory of accounts with pushes, which have these outcomes.
type pushed struct {
	Directory
	outcomes map[string]error
}

func (p pushed) Callback(account string) (Callback, bool) {
	err, ok := p.outcomes[account]
	return pushes{err}, ok
}

func TestAPushNeedsNoCredentialsAndIsAnsweredAsText(t *testing.T) {
	s := newStage(t, takesPushes)
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/callback/" + wxa + "?nonce=1", "<xml/>", "POST 1 6"},
		{"GET", "/callback/" + wxa + "?nonce=2", "", "GET 2 0"},
		{"POST", "//callback/" + wxa + "/?nonce=3", strings.Repeat("x", 200<<10), "POST 3 204800"},
	} {
		r := s.ask("", c.method, c.path, c.body)
		if r.status != 200 || r.body != c.want || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.path, r.status, r.body, c.want)
		}
	}
	for path, status := range map[string]int{"/callback/none": 404, "/callback/": 401, "/callback": 401, "/callback/" + wxa + "/x": 401} {
		if r := s.ask("", "POST", path, ""); r.status != status {
			t.Errorf("POST %s: %d %s, want %d", path, r.status, r.body, status)
		}
	}
	if r := s.ask("", "POST", "/callback/"+wxa, strings.Repeat("x", msgcrypt.MaxBody+1)); r.status != 413 {
		t.Errorf("a body that is too large: %d %s", r.status, r.body)
	}
	if r := s.ask("", "PUT", "/callback/"+wxa, ""); r.status != 405 {
		t.Errorf("PUT: %d %s", r.status, r.body)
	}
}

func TestAPushThatIsNotTakenIsPushedAgainAndItsCauseIsLogged(t *testing.T) {
	s := newStage(t, takesPushes)
	for _, c := range []struct {
		name         string
		status       int
		code, logged string
	}{
		{"malformed", 400, "bad_request", "cut off"},
		{"forged", 403, "forbidden", "Token"},
		{"locked", 403, "forbidden", "EncodingAESKey"},
		{"foreign", 403, "forbidden", "another receiver"},
		{"away", 503, "not_stored", "internal detail"},
	} {
		r := s.ask("", "POST", "/callback/"+c.name, "<xml/>")
		if r.status != c.status || r.field("error") != c.code || strings.Contains(r.body, "detail") {
			t.Errorf("%s: %d %s, want %d %s", c.name, r.status, r.body, c.status, c.code)
		}
		if log := s.log.String(); !strings.Contains(log, c.logged) || !strings.Contains(log, c.name) {
			t.Errorf("%s: the log has %s", c.name, log)
		}
	}
}

func TestAnEventThatCannotBeUsedIsNotPushedAgain(t *testing.T) {
	s := newStage(t, takesPushes)
	if r := s.ask("", "POST", "/callback/useless", "<xml/>"); r.status != 200 || r.body != "success" {
		t.Errorf("%d %s, want 200 success", r.status, r.body)
	}
	log := s.log.String()
	if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "no CreateTime") || !strings.Contains(log, "account=useless") {
		t.Errorf("the log has %s", log)
	}
}
