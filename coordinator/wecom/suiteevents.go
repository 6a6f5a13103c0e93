package wecom

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// acknowledged is what WeCom takes for the receipt of an event.
const acknowledged = "success"

const (
	// answerWithin is how long an event may take. WeCom waits for a second.
	answerWithin = 900 * time.Millisecond

	suiteTicketLife = 30 * time.Minute
	authCodeLife    = 10 * time.Minute
)

// Callback handles a request to the callback URL, and returns the body of the answer,
// whose status is 200. GET proves the URL, POST is an event. Events come more than once
// and in any order.
//
// An event is answered when what it brings is stored, within a second. On an error WeCom
// pushes it again after 5 seconds, three times; the errors are those of msgcrypt, for a
// request that is not WeCom's or not for this suite, and the store's. A suite_ticket that
// cannot be stored is kept in memory, because the next one comes in 10 minutes anyway. So is
// an auth_code, until it ends, but after an error: another process may store it sooner.
func (s *Suite) Callback(ctx context.Context, method string, query url.Values, body []byte) (answer string, err error) {
	if method == http.MethodGet {
		push, err := msgcrypt.ParseEcho(query)
		if err != nil {
			return "", err
		}
		m, err := s.codec.OpenEcho(push)
		return string(m.Body), err
	}
	push, _, err := msgcrypt.ParsePush(query, body)
	if err != nil {
		return "", err
	}
	m, err := s.codec.Open(push)
	if err != nil {
		return "", err
	}
	fields, err := msgcrypt.ParseXML(m.Body)
	if err != nil {
		return "", fmt.Errorf("%w: it is not XML", msgcrypt.ErrEvent)
	}
	if id := fields["SuiteId"]; id != s.config.SuiteID {
		return "", fmt.Errorf("%w: an event of the suite %.40q", msgcrypt.ErrReceiver, id)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := s.take(ctx, fields); err != nil {
		return "", fmt.Errorf("%.40s: %w", fields["InfoType"], err)
	}
	return acknowledged, nil
}

// take stores what an event brings.
func (s *Suite) take(ctx context.Context, fields msgcrypt.Fields) error {
	at := eventTime(fields["TimeStamp"])
	switch event := fields["InfoType"]; event {
	case "suite_ticket":
		return s.takeTicket(ctx, fields["SuiteTicket"], at)
	case "create_auth", "reset_permanent_code":
		return s.takePushedCode(ctx, fields["AuthCode"], at)
	case "cancel_auth":
		return s.takeCancel(ctx, fields["AuthCorpId"], at)
	case "change_auth":
		return s.takeChange(ctx, fields["AuthCorpId"])
	default:
		s.log.DebugContext(ctx, "an event of no concern", "event", event)
		return nil
	}
}

// eventTime returns the time that an event states; zero if it states none.
func eventTime(seconds string) time.Time {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n <= 0 || n > 1<<40 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func (s *Suite) takeTicket(ctx context.Context, ticket string, at time.Time) error {
	if ticket == "" {
		return fmt.Errorf("%w: a suite_ticket event without a SuiteTicket", msgcrypt.ErrEvent)
	}
	r := coordinator.Received{Token: coordinator.NewToken(ticket), At: at, Life: suiteTicketLife}
	err := s.config.Account.Receive(ctx, r)
	if err == nil {
		return nil
	}
	s.log.WarnContext(ctx, "a suite_ticket cannot be stored yet: it is kept in memory", "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unstored == nil || !at.Before(s.unstored.At) {
		s.unstored = &r
	}
	return nil
}

// storeTicket stores the suite_ticket that the store could not take when it came.
func (s *Suite) storeTicket(ctx context.Context) {
	s.mu.Lock()
	r := s.unstored
	s.mu.Unlock()
	if r == nil || s.config.Account.Receive(ctx, *r) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unstored == r {
		s.unstored = nil
	}
}

// pendingMark begins, after the prefix, the names of grants that are auth_codes: an event
// with an auth_code does not say of which corp it is.
const pendingMark = "~"

func (s *Suite) pendingName(code string) string {
	sum := sha256.Sum256([]byte(code))
	return s.prefix + pendingMark + hex.EncodeToString(sum[:10])
}

func (s *Suite) isPending(name string) bool {
	rest, ok := strings.CutPrefix(name, s.prefix)
	return ok && strings.HasPrefix(rest, pendingMark)
}

// TakeAuthCode stores an auth_code that came with a redirect of the browser, to be
// exchanged for the corp's permanent code. It is good for 10 minutes. WeCom pushes the
// auth_codes of all other installations, and nothing of one that ends with a redirect. So
// this one is as old as its arrival, by the store's clock, among the corp's events.
func (s *Suite) TakeAuthCode(ctx context.Context, code string) error {
	return s.takeAuthCode(ctx, code, time.Time{})
}

// pushedCode is when an event with an auth_code was made, by its own word, and when it came.
type pushedCode struct{ at, came time.Time }

func (s *Suite) takePushedCode(ctx context.Context, code string, at time.Time) error {
	err := s.takeAuthCode(ctx, code, at)
	if err != nil && code != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.codes[code] = pushedCode{at, time.Now()}
	}
	return err
}

// storeCodes stores the auth_codes that the store could not take when they came.
func (s *Suite) storeCodes(ctx context.Context) {
	s.mu.Lock()
	codes := maps.Clone(s.codes)
	s.mu.Unlock()
	for code, pushed := range codes {
		storing, cancel := context.WithTimeout(ctx, storeFor)
		err := s.takeAuthCode(storing, code, pushed.at)
		cancel()
		switch ended := time.Since(pushed.came) > authCodeLife; {
		case err != nil && !ended:
			return // the others would fail, too
		case err != nil:
			s.log.Error("an auth_code could not be stored before its end: the corp has to install the suite again", "error", err)
		}
		s.mu.Lock()
		delete(s.codes, code)
		s.mu.Unlock()
	}
}

func (s *Suite) takeAuthCode(ctx context.Context, code string, at time.Time) error {
	if code == "" {
		return fmt.Errorf("%w: an event without an AuthCode", msgcrypt.ErrEvent)
	}
	name, settled := s.pendingName(code), false
	err := s.changePending(ctx, name, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		if g.Version > 0 {
			settled = len(g.Tokens) == 0
			return g, false
		}
		settled = false
		g = g.Consented(coordinator.Consent{Token: coordinator.NewToken(code)}, now)
		g.Tokens[0].At = cmp.Or(coordinator.CredibleTime(at, now), now.Truncate(time.Second)) // as exact as an event
		g.Tokens[0].Until = now.Add(authCodeLife)
		return g, true
	})
	if err != nil || settled {
		return err
	}
	if err := s.config.Account.SetMember(ctx, name, true); err != nil {
		return err
	}
	s.wake()
	return nil
}

// takeCancel withdraws the permanent code of a corp that has removed the suite.
func (s *Suite) takeCancel(ctx context.Context, corpID string, at time.Time) error {
	name := s.AccountName(corpID)
	if corpID == "" || coordinator.ValidateName(name) != nil {
		return errNoAuthCorpID
	}
	member, err := s.consent(ctx, name, coordinator.Token{}, at)
	switch {
	case err != nil:
		return err
	case member: // an old event, or one of the same second as the installation: WeCom knows
		s.doubt(name)
	default:
		s.wake()
	}
	return nil
}

// takeChange looks whether the corp still has the suite: an app for contacts announces its
// end as a change. A permanent code that WeCom has refused is tried once more, because
// the app may have been enabled again.
func (s *Suite) takeChange(ctx context.Context, corpID string) error {
	name := s.AccountName(corpID)
	if corpID == "" || coordinator.ValidateName(name) != nil {
		return errNoAuthCorpID
	}
	err := s.changeCode(ctx, name, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		if held := newest(g); held.Refused {
			return consented(g, held.Token, time.Time{}, now)
		}
		return g, false
	})
	if err != nil {
		return err
	}
	s.doubt(name)
	return nil
}

var errNoAuthCorpID = fmt.Errorf("%w: an event without a usable AuthCorpId", msgcrypt.ErrEvent)
