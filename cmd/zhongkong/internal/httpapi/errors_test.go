package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestBehindAnAnswerThatOnlyAnOperatorCanMendIsALogLine(t *testing.T) {
	s := newStage(t)
	r := &request{Request: httptest.NewRequest("GET", "/v1/tokens/"+wxa+"?secret=x", nil)}
	w := httptest.NewRecorder()
	if status := s.api.fail(w, r, errors.New("an unexpected error")); status != 500 {
		t.Errorf("%d %s, want 500", status, w.Body)
	}
	if log := s.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, `why="an unexpected error"`) ||
		!strings.Contains(log, "outcome=internal") || !strings.Contains(log, "path=/v1/tokens/"+wxa+" ") {
		t.Errorf("the log does not say why: %s", log)
	}
	if strings.Contains(w.Body.String(), "unexpected error") {
		t.Errorf("the caller is told: %s", w.Body)
	}
	before := len(s.log.String())
	s.api.fail(httptest.NewRecorder(), r, coordinator.ErrUnknownAccount)
	if more := s.log.String()[before:]; more != "" {
		t.Errorf("a caller's mistake is logged: %s", more)
	}
}

func TestWhatTheStoreDeniesIsSaidToCallersAndInTheLog(t *testing.T) {
	s := deniedStage(t)
	s.wait("the refusal", func() bool { return s.zk.StoreError() != nil })
	mine := "/v1/tokens/" + wxa
	for name, r := range map[string]reply{
		"a token":   s.ask(reader, "GET", mine+"?wait=50ms", ""),
		"a refresh": s.ask(admin, "POST", mine+"/refresh", ""),
		"the page":  s.ask(admin, "POST", "/", "account="+wxa, "Content-Type", formType, "Accept", "application/json"),
	} {
		message, _ := r.field("message").(string)
		if r.status != 503 || r.field("error") != "store_denied" || r.header.Get("Retry-After") == "" || !strings.Contains(message, "doctor") {
			t.Errorf("%s: %d %s, want 503 store_denied with Retry-After", name, r.status, r.body)
		}
		if strings.Contains(r.body, "WRONGPASS") {
			t.Errorf("%s tells a caller: %s", name, r.body)
		}
	}
	if body := string(s.api.Answer(auth.Caller{}, wxa)); !strings.Contains(body, `"store_denied"`) {
		t.Errorf("a datagram is answered with %s", body)
	}
	if log := s.log.String(); !strings.Contains(log, "outcome=store_denied") || !strings.Contains(log, "WRONGPASS") {
		t.Errorf("the log does not say why: %s", log)
	}
}

func TestADatagramSaysThatTheStoreIsAway(t *testing.T) {
	s := newStage(t)
	s.store.SetDown(true)
	if _, err := s.zk.Add(coordinator.AccountConfig{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	s.wait("the loss", func() bool { return s.zk.StoreError() != nil })
	if body := string(s.api.Answer(auth.Caller{}, "late")); !strings.Contains(body, `"store_unreachable"`) {
		t.Errorf("a datagram is answered with %s, want store_unreachable", body)
	}
	if body := string(s.api.Answer(auth.Caller{}, wxa)); !strings.Contains(body, `"access_token"`) {
		t.Errorf("a datagram is answered with %s, want the token", body)
	}
}

func TestADatagramSaysWhetherATokenMayComeSoonAndWhyThereIsNone(t *testing.T) {
	for name, c := range map[string]struct {
		outcome     coordinatortest.Outcome
		code, words string
	}{
		"refused for good":        {refusal(), "refused", "invalid appsecret"},
		"busy":                    {coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"), "no_token", "system error"},
		"over the issuer's quota": {coordinatortest.FailsWith(coordinator.FailedLater, "45009", "reach max api daily quota limit"), "throttled", "quota limit"},
	} {
		t.Run(name, func(t *testing.T) {
			s := failingStage(t, c.outcome)
			s.wait("the failure", func() bool { return s.account(wxa).Status().Failure != nil })
			body := string(s.api.Answer(auth.Caller{}, wxa))
			if !strings.Contains(body, `"error":"`+c.code+`"`) || !strings.Contains(body, c.words) {
				t.Errorf("a datagram is answered with %s, want %s and %q", body, c.code, c.words)
			}
		})
	}
	s := newStage(t)
	for code, err := range map[string]error{
		"no_grant": &coordinator.GrantError{Condition: coordinator.GrantDead},
		"no_token": errors.Join(coordinator.ErrNoToken, &coordinator.GrantError{Condition: coordinator.GrantPresented}),
	} {
		if body := string(s.api.errorBody(err)); !strings.Contains(body, `"error":"`+code+`"`) {
			t.Errorf("%v: a datagram is answered with %s, want %s", err, body, code)
		}
	}
}

// usedUp is a store whose calls of the day are used up.
type usedUp struct{ coordinator.Store }

func (usedUp) Begin(context.Context, string, coordinator.BeginRequest) (coordinator.Attempt, error) {
	return coordinator.Attempt{}, &coordinator.ThrottledError{Limit: coordinator.LimitBudget, RetryIn: 7 * time.Hour}
}

func TestWhileTheCallsOfTheDayAreUsedUpEachRequestIsToldForHowLong(t *testing.T) {
	store := memstore.New()
	s := stageOver(t, usedUp{store}, store, map[string]*coordinatortest.Source{wxa: {}, wxb: {}}).connected()
	for _, query := range []string{"?wait=60s", "", "?wait=60s", "?wait=1ms"} { // the first waits until the limit is known
		asked := time.Now()
		r := s.ask(reader, "GET", "/v1/tokens/"+wxa+query, "")
		retry, err := strconv.Atoi(r.header.Get("Retry-After"))
		if r.status != 429 || r.field("error") != "throttled" || err != nil || retry > 25200 || retry < 25140 {
			t.Errorf("%q: %d %s, Retry-After %q; want 429 throttled for 7 hours", query, r.status, r.body, r.header.Get("Retry-After"))
		}
		if took := time.Since(asked); took > 20*time.Second {
			t.Errorf("%q: the answer took %v", query, took)
		}
	}
	if body := string(s.api.Answer(auth.Caller{}, wxa)); !strings.Contains(body, `"error":"throttled"`) {
		t.Errorf("a datagram is answered with %s, want throttled", body)
	}
}

func TestWhoSendsNoCredentialsIsNoWarning(t *testing.T) {
	s := newStage(t)
	s.ask("", "GET", "/", "") // as every browser does first
	s.ask("", "POST", "/GetToken", "")
	if log := s.log.String(); strings.Contains(log, "WARN") || !strings.Contains(log, "level=DEBUG") {
		t.Errorf("the log has %s", log)
	}
	s.ask(stranger, "GET", "/", "")
	if log := s.log.String(); !strings.Contains(log, "level=WARN") {
		t.Errorf("a wrong password is not warned of: %s", log)
	}
	quiet := newStage(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(s.log, nil)) })
	before := s.log.String()
	quiet.ask("", "GET", "/", "")
	if log := s.log.String(); log != before {
		t.Errorf("at the usual level the log has %s", log[len(before):])
	}
}

func TestWhoHasNoTokenIsNotToldToAskAgainBeforeACallIsAllowed(t *testing.T) {
	hours := errors.Join(coordinator.ErrNoToken, &coordinator.ThrottledError{Limit: coordinator.LimitBudget, RetryIn: 3 * time.Hour})
	if p := problemOf(t.Context(), hours); p.status != 503 || p.code != "no_token" || p.retry != 3*time.Hour {
		t.Errorf("%+v, want 503 no_token and Retry-After of three hours", p)
	}
	if p := problemOf(t.Context(), errors.Join(coordinator.ErrNoToken, &coordinator.ThrottledError{})); p.retry != time.Second {
		t.Errorf("%+v, want Retry-After of a second", p)
	}
}

func TestEveryCodeIsDescribed(t *testing.T) {
	d := loadDescription(t)
	for _, err := range []error{
		auth.ErrDenied, &auth.ThrottledError{}, badRequestf("x"), &http.MaxBytesError{}, errFull, formdata.ErrMediaType,
		coordinator.ErrUnknownAccount, &coordinator.RefusedError{}, coordinator.ErrSealed, coordinator.ErrUnreachable, coordinator.ErrDenied,
		errRevoked,
		coordinator.ErrNoToken, context.DeadlineExceeded, &coordinator.ThrottledError{}, &coordinator.QuotaError{}, &coordinator.FetchError{},
		coordinator.ErrSuperseded, fmt.Errorf("an unexpected error"),
	} {
		p := problemOf(t.Context(), err)
		v := node{"error": p.code, "message": firstOf(p.message, "-")}
		if err := d.conforms(d.at(d.root, "components", "schemas", "error"), v, "error"); err != nil {
			t.Error(err)
		}
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
