package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

func TestAProbeFindsWhatKeepsASourceFromWorking(t *testing.T) {
	issuer := newIssuer()
	s := sourceOf(t, configured(issuer))
	if err := s.Probe(t.Context()); err != nil {
		t.Errorf("Probe() = %v", err)
	}
	if n := len(issuer.Calls()); n != 1 || issuer.Calls()[0].Client != "" {
		t.Errorf("it showed a credential: %+v", issuer.Calls())
	}
	app := gitHub(t, newGitHub())
	if err := sourceOf(t, app).Probe(t.Context()); err != nil {
		t.Errorf("GitHub: %v", err)
	}
	slow := newGitHub()
	slow.Tune(func(k *oauthtest.Knobs) { k.ClockAhead = oauthtest.Duration(-time.Hour) })
	if err := sourceOf(t, gitHub(t, slow)).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "ahead of the issuer's") {
		t.Errorf("a clock that is ahead: %v", err)
	}
	if err := sourceOf(t, configured(newIssuer(), func(c *oauth.Config) { c.Transport = nil; c.TokenURL = "http://127.0.0.1:1/t" })).Probe(t.Context()); err == nil {
		t.Error("nothing listens, and the probe is content")
	}
	for status, want := range map[int]string{302: "redirects", 404: "check the address", 502: "502", 401: "", 405: "", 400: ""} {
		c := configured(issuer)
		c.Transport = answering(status, "", "")
		if err := sourceOf(t, c).Probe(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d %s: %v", status, http.StatusText(status), err)
		}
	}
}
