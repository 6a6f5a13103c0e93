package wechat

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// The InfoTypes that a Platform acts upon.
const (
	infoVerifyTicket     = "component_verify_ticket"
	infoAuthorized       = "authorized"
	infoUpdateAuthorized = "updateauthorized"
	infoUnauthorized     = "unauthorized"
)

// pushAccepted is what WeChat wants as an answer.
const pushAccepted = "success"

// Callback handles a request that WeChat sends to the platform's URL for authorization
// events: its method, its query and its body of at most msgcrypt.MaxBody bytes. It returns
// the body of the answer, which is to be sent within 5 s with the status 200, and only
// after what must not be lost is stored: a verify ticket, or an authorization. After an
// error the answer must be another one, and WeChat pushes again; an authorization that could
// not be stored is kept in memory besides, for an hour. The error is one of
// package msgcrypt for a push that is not WeChat's, or not for this platform, or whose event
// cannot be used (msgcrypt.ErrEvent: answer it as if it were taken, because WeChat would
// push it again in vain), and tells otherwise why the event could not be stored. It has no
// secrets.
//
// Pushes may come twice and in any order: an event that is older than what is stored
// changes nothing.
func (p *Platform) Callback(ctx context.Context, method string, query url.Values, body []byte) (answer string, err error) {
	if method == http.MethodGet {
		return p.echo(query)
	}
	push, envelope, err := msgcrypt.ParsePush(query, body)
	if err != nil {
		return "", err
	}
	if id := envelope["AppId"]; id != "" && id != p.config.Component.appID { // whose Token may be another
		return "", fmt.Errorf("%w: two platforms push to one URL", msgcrypt.ErrReceiver)
	}
	message, err := p.codec.Open(push)
	if err != nil {
		return "", err
	}
	fields, err := msgcrypt.ParseXML(message.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: it is not XML", msgcrypt.ErrEvent)
	case fields["AppId"] != p.config.Component.appID:
		return "", msgcrypt.ErrReceiver
	}
	if message.Previous {
		p.log.InfoContext(ctx, "a push was encrypted with the previous EncodingAESKey", "event", fields["InfoType"])
	}
	if err := p.take(ctx, fields); err != nil {
		return "", err
	}
	return pushAccepted, nil
}

// echo answers the request by which WeCom, and perhaps WeChat, verifies a URL.
func (p *Platform) echo(query url.Values) (string, error) {
	push, err := msgcrypt.ParseEcho(query)
	if err != nil {
		return "", err
	}
	message, err := p.codec.OpenEcho(push)
	return string(message.Body), err
}

// take stores an event.
func (p *Platform) take(ctx context.Context, fields msgcrypt.Fields) error {
	seconds, err := strconv.ParseInt(fields["CreateTime"], 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the event has no CreateTime", msgcrypt.ErrEvent)
	}
	created, appID := time.Unix(seconds, 0), fields["AuthorizerAppid"]
	switch infoType := fields["InfoType"]; infoType {
	case infoVerifyTicket:
		return p.takeTicket(ctx, fields["ComponentVerifyTicket"], created)
	case infoAuthorized, infoUpdateAuthorized, infoUnauthorized:
		code := fields["AuthorizationCode"]
		if infoType == infoUnauthorized {
			code = ""
		}
		if appID == "" || infoType != infoUnauthorized && code == "" {
			return fmt.Errorf("%w: the event %s has no AuthorizerAppid or no AuthorizationCode", msgcrypt.ErrEvent, infoType)
		}
		if err := coordinator.ValidateName(appID); err != nil {
			return fmt.Errorf("%w: the AuthorizerAppid of the event %s: %w", msgcrypt.ErrEvent, infoType, err)
		}
		if err := p.takeConsent(ctx, appID, code, created); err != nil {
			p.keepUnstored(appID, code, created)
			return fmt.Errorf("the event %s of %s: %w", infoType, appID, err)
		}
		return nil
	default:
		p.log.InfoContext(ctx, "an event that is not acted upon", "event", infoType, "authorizer", appID)
		return nil
	}
}

// takeTicket stores a verify ticket.
func (p *Platform) takeTicket(ctx context.Context, ticket string, created time.Time) error {
	if ticket == "" {
		return fmt.Errorf("%w: the event has no ComponentVerifyTicket", msgcrypt.ErrEvent)
	}
	// A ticket that comes late, or to a machine whose clock is wrong, is kept for a while:
	// WeChat says whether it has ended.
	life := max(VerifyTicketLife-max(time.Since(created), 0), pushInterval)
	return p.config.Account.Receive(ctx, coordinator.Received{Token: coordinator.NewToken(ticket), At: created, Life: life})
}

// takeConsent stores what an event says of an authorization: the code that is to be
// exchanged, or "" for its end.
func (p *Platform) takeConsent(ctx context.Context, appID, code string, created time.Time) error {
	select {
	case p.taking <- struct{}{}:
		defer func() { <-p.taking }()
	case <-time.After(takeWithin):
		return errors.New("too many events at once: WeChat pushes it again")
	}
	var consent coordinator.Consent
	if code != "" {
		consent.Token, consent.Form = coordinator.NewToken(code), AuthorizationCode
	}
	tie := false
	after, changed, err := p.changeGrant(ctx, appID, func(g coordinator.Grant, now time.Time) coordinator.Grant {
		consent.At = eventTime(created, code, g.ConsentedAt)
		tie = created.Equal(g.ConsentedAt.Truncate(time.Second))
		return g.Consented(consent, now)
	})
	if err != nil {
		return err
	}
	// The members follow the grant also if it was there before: a repeated event completes
	// what a process that died had begun.
	present := len(after.Tokens) > 0
	if present != (code != "") {
		p.log.InfoContext(ctx, "an event that is older than what is known of the authorizer changes nothing", "authorizer", appID, "created_at", created)
		return nil
	}
	if err := p.setMember(ctx, appID, present); err != nil {
		return err
	}
	if changed && tie {
		p.list.want() // which tells how it ended
	}
	if changed {
		p.log.InfoContext(ctx, "an account has changed its authorization of the platform", "authorizer", appID, "authorized", present)
	}
	return nil
}

// eventTime returns the time of an event by which it is ordered; value is what it brings.
// WeChat's times are in whole seconds, and before is the time of the event that is stored.
// Of two events of one second the one that comes later counts as the later one: its
// milliseconds are one more. The nanoseconds below tell what the event brought, so that one
// that is repeated is no later than itself.
func eventTime(created time.Time, value string, before time.Time) time.Time {
	sum := sha256.Sum256([]byte(value))
	brought := time.Duration(binary.BigEndian.Uint32(sum[:])) % time.Millisecond
	if !created.Equal(before.Truncate(time.Second)) {
		return created.Add(brought)
	}
	within := time.Duration(before.Nanosecond())
	if within%time.Millisecond == brought {
		return before
	}
	return created.Add((within.Truncate(time.Millisecond) + time.Millisecond) % time.Second).Add(brought)
}

// changeGrant makes a transition of the grant of an authorizer, and returns the grant as
// it is stored then. If only its copy cannot be made, every process lives on it already, and
// the members have to follow: the next change is copied with what is in it.
func (p *Platform) changeGrant(
	ctx context.Context, appID string, transition func(g coordinator.Grant, now time.Time) coordinator.Grant,
) (after coordinator.Grant, changed bool, err error) {
	rules := (*AuthorizerSource)(nil).Description().Grant
	err = p.config.Coordinator.ChangeGrant(ctx, appID, rules, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		after = transition(g, now)
		changed = after.Version != g.Version
		return after, changed
	})
	if errors.Is(err, coordinator.ErrNotCopied) {
		p.log.WarnContext(ctx, "an authorizer's grant is not copied", "authorizer", appID, "error", err)
		err = nil
	}
	return after, changed, err
}
