package oauthtest

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"time"
)

// device is a device's question for consent (RFC 8628). Server.mu guards it.
type device struct {
	client, scope, userCode string
	asked, ends             time.Time
	polled                  time.Time     // the last time that it asked for the token
	interval                time.Duration // that it must wait between two times
	answered, denied, used  bool
}

// serveDevice is the device authorization endpoint (RFC 8628, section 3.1).
func (s *Server) serveDevice(w http.ResponseWriter, r *http.Request) {
	refused := checkForm(r)
	var client Client
	var auth string
	if refused == nil {
		client, auth, refused = s.authenticate(r)
	}
	switch {
	case refused != nil:
	case client.ID == "" || auth == authNone && client.confidential():
		refused = invalidClient("no client authentication")
	case !client.may(r.PostForm.Get("scope")):
		refused = &refusal{http.StatusBadRequest, "invalid_scope", "not for this client"}
	}
	if refused != nil {
		writeJSON(w, refused.status, refused.body())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, k := time.Now(), s.knobs.Consent
	text := rand.Text()
	d := &device{
		client: client.ID, scope: r.PostForm.Get("scope"), userCode: text[:4] + "-" + text[4:8],
		asked: now, ends: now.Add(k.life(10 * time.Minute)), interval: cmp.Or(time.Duration(k.Interval), 5*time.Second),
	}
	value := rand.Text() + rand.Text()
	s.devices[value] = d
	verify := address(r) + "/verify"
	writeJSON(w, http.StatusOK, map[string]any{
		"device_code": value, "user_code": d.userCode,
		"verification_uri": verify, "verification_uri_complete": verify + "?user_code=" + d.userCode,
		"expires_in": int64(d.ends.Sub(now) / time.Second), "interval": int64(d.interval / time.Second),
	})
}

// serveVerify is the page on which the person enters the code, and consents.
func (s *Server) serveVerify(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.userCode == r.FormValue("user_code") && time.Now().Before(d.ends) {
			d.answered, d.denied = true, s.knobs.Consent.Denies
			_, _ = w.Write([]byte("The device may go on.\n"))
			return
		}
	}
	http.Error(w, "the code is unknown or too old", http.StatusNotFound)
}

// poll answers a device that asks for the token (RFC 8628, section 3.5).
func (s *Server) poll(r *http.Request, client Client, certificate string) (granted, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, k := time.Now(), s.knobs.Consent
	d := s.devices[r.PostForm.Get("device_code")]
	if d == nil || d.client != client.ID || d.used {
		return granted{}, invalidGrant("the device code is unknown, or was used")
	}
	if k.After > 0 && !d.answered && !now.Before(d.asked.Add(time.Duration(k.After))) {
		d.answered, d.denied = true, k.Denies
	}
	early := !d.polled.IsZero() && now.Before(d.polled.Add(d.interval))
	d.polled = now
	word := ""
	switch {
	case !now.Before(d.ends):
		word = "expired_token"
	case early:
		word = "slow_down"
		d.interval += 5 * time.Second
	case !d.answered:
		word = "authorization_pending"
	case d.denied:
		word = "access_denied"
	}
	if word != "" {
		return granted{}, &refusal{http.StatusBadRequest, word, ""}
	}
	d.used = true
	t := s.consent(d.client, d.scope)
	return s.grant(t.family, t, certificate), nil
}
