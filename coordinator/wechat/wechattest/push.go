package wechattest

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// VerifyTicket is the InfoType of a push with a verify ticket.
const VerifyTicket = "component_verify_ticket"

// Push is an event that was pushed, or is to be.
type Push struct {
	ID        int    `json:"id"`
	Component string `json:"component_appid"`
	InfoType  string `json:"info_type"`
	AppID     string `json:"authorizer_appid,omitempty"`
	Value     string `json:"-"` // the verify ticket, or the authorization_code

	Created  time.Time `json:"created"` // its CreateTime
	Attempts int       `json:"attempts"`

	// Answered is when the receiver first answered "success" in time. Lost means that
	// the server gave up. A push with neither is under way.
	Answered time.Time `json:"answered"`
	Lost     bool      `json:"lost"`
}

// push is a Push with the server's private fields. Guarded by Server.mu.
type push struct {
	Push
	to      *component
	expires time.Time // of the authorization_code
	due     time.Time // of the next attempt
	late    bool      // a fault has put it off
}

// queuePush adds an event. The caller holds s.mu.
func (s *Server) queuePush(c *component, now time.Time, infoType, appID, value string) {
	s.lastPush++
	p := &push{
		Push:    Push{ID: s.lastPush, Component: c.account.AppID, InfoType: infoType, AppID: appID, Value: value, Created: now},
		to:      c,
		expires: now.Add(s.knobs.AuthCodeTTL),
		due:     now,
	}
	s.pushed = append(s.pushed, p)
	if len(s.pushed) > s.history {
		s.pushed = slices.Clone(s.pushed[len(s.pushed)/2:])
	}
	s.queue = append(s.queue, p)
	s.wakePushes()
}

// PushTicket pushes a new verify ticket now, as a button in the console does.
func (s *Server) PushTicket(componentID string) error {
	return s.changeComponent(componentID, func(c *component, now time.Time) error {
		s.queuePush(c, now, VerifyTicket, "", s.newTicket(c, now))
		return nil
	})
}

// Pushes returns the pushed events, oldest first.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Push, len(s.pushed))
	for i, p := range s.pushed {
		out[i] = p.Push
	}
	return out
}

// wakePushes makes RunPushes look what is due.
func (s *Server) wakePushes() {
	select {
	case s.pushWake <- struct{}{}:
	default:
	}
}

// RunPushes pushes the events of all components until ctx ends, and then waits for
// those under way: a verify ticket every 10 minutes, other events at once, each again if
// it was not answered with "success" in time. rt makes the calls; nil:
// http.DefaultTransport. A server pushes nothing without RunPushes.
func (s *Server) RunPushes(ctx context.Context, rt http.RoundTripper) {
	if rt == nil {
		rt = http.DefaultTransport
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.pushWake:
		case <-timer.C:
		}
		due, next := s.takeDue()
		for _, p := range due {
			sending.Go(func() { s.deliver(ctx, rt, p) }) // ends with the timeout of the push
		}
		timer.Reset(next)
	}
}

// takeDue takes the pushes whose time has come, and returns how long to wait for the
// next.
func (s *Server) takeDue() (due []*push, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.nowLocked()
	next = s.knobs.PushEvery
	for _, id := range slices.Sorted(maps.Keys(s.components)) {
		c := s.components[id]
		if c.Stopped {
			continue
		}
		if !now.Before(c.nextTicket) {
			c.nextTicket = now.Add(s.knobs.PushEvery)
			s.queuePush(c, now, VerifyTicket, "", s.newTicket(c, now))
		}
		next = min(next, c.nextTicket.Sub(now))
	}
	s.queue = slices.DeleteFunc(s.queue, func(p *push) bool {
		if p.due.After(now) {
			next = min(next, p.due.Sub(now))
			return false
		}
		due = append(due, p)
		return true
	})
	return due, next
}

// deliver makes one attempt.
func (s *Server) deliver(ctx context.Context, rt http.RoundTripper, p *push) {
	fault := s.strikePush(p)
	if fault.postpones() && !p.late {
		s.postpone(p, fault)
		return
	}
	sent := s.compose(p, fault)
	answered := fault.Kind != PushDrop && s.post(ctx, rt, p.to, sent)
	if fault.Kind == PushDuplicate {
		answered = s.post(ctx, rt, p.to, sent) || answered
	}
	s.settle(p, answered)
}

// compose encrypts the push.
func (s *Server) compose(p *push, fault PushFault) msgcrypt.Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	codec := p.to.codec
	if fault.Kind == PushPreviousKey && p.to.formerCodec != nil {
		codec = p.to.formerCodec
	}
	if fault.Kind == PushReceiver {
		c := p.to.Component
		c.AppID = "wx0000000000000000"
		codec, _ = c.codecOf(c.EncodingAESKey) // the key is valid: there is a codec of it
	}
	sent := codec.Seal(p.message(s.eventTime(p.Created)), s.nowLocked())
	if fault.Kind == PushSignature {
		sent.Signature = s.randomHex(20)
	}
	return sent
}

// eventTime is a time as events and the list have it. The caller holds mu.
func (s *Server) eventTime(at time.Time) int64 {
	if s.knobs.EventMilliseconds {
		return at.UnixMilli()
	}
	return at.Unix()
}

// message is the event as it is before it is encrypted.
func (p *push) message(created int64) []byte {
	fields := msgcrypt.Fields{
		"AppId": p.Component, "CreateTime": strconv.FormatInt(created, 10), "InfoType": p.InfoType, "AuthorizerAppid": p.AppID,
	}
	switch p.InfoType {
	case VerifyTicket:
		fields["ComponentVerifyTicket"] = p.Value
		return fields.XML("AppId", "CreateTime", "InfoType", "ComponentVerifyTicket")
	case "authorized", "updateauthorized":
		fields["AuthorizationCode"] = p.Value
		fields["AuthorizationCodeExpiredTime"] = strconv.FormatInt(p.expires.Unix(), 10)
		fields["PreAuthCode"] = ""
		return fields.XML("AppId", "CreateTime", "InfoType", "AuthorizerAppid", "AuthorizationCode", "AuthorizationCodeExpiredTime", "PreAuthCode")
	default:
		return fields.XML("AppId", "CreateTime", "InfoType", "AuthorizerAppid")
	}
}

// post sends a push and reports whether it was answered with "success" in time.
func (s *Server) post(ctx context.Context, rt http.RoundTripper, c *component, sent msgcrypt.Push) bool {
	s.mu.Lock()
	address, id, timeout := c.URL, c.account.AppID, s.knobs.PushTimeout
	if c.Handler != nil {
		rt = simulator.Transport{Handler: c.Handler, From: "101.226.103.61"}
		if address == "" {
			address = "http://platform.invalid/"
		}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	query := sent.Query()
	query.Set("signature", "not-looked-at")
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	req, err := http.NewRequestWithContext(
		ctx, http.MethodPost, address+separator+query.Encode(), bytes.NewReader(sent.Body("AppId", id)))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "text/xml")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	return err == nil && resp.StatusCode == http.StatusOK && string(body) == "success"
}

// settle records the outcome of an attempt, and plans the next.
func (s *Server) settle(p *push, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.nowLocked()
	p.Attempts++
	switch {
	case answered:
		p.Answered = now
	case p.Attempts > s.knobs.PushRetries:
		p.Lost = true
	default:
		p.due = now.Add(s.knobs.PushRetryAfter)
		s.queue = append(s.queue, p)
	}
	for _, held := range p.to.held {
		held.due = now
		s.queue = append(s.queue, held)
	}
	p.to.held = nil
	s.wakePushes()
}
