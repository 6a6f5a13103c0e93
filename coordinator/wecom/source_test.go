package wecom_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

// leaky puts the URL, with the secret, into its errors, as some transports do.
type leaky struct{}

func (leaky) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	return nil, fmt.Errorf("proxy: %s %s: refused", req.URL, body)
}

func TestErrorsAreClean(t *testing.T) {
	for _, c := range allKinds() {
		c.Transport = leaky{}
		_ = failing(t, newSource(t, nil, c), coordinator.FetchRequest{Parent: record("parent-0123456789")}) // checks it
		sandbox := wecomtest.New(wecomtest.Config{})
		c.Transport = sandbox.Transport()
		sandbox.Inject(wecomtest.Fault{Code: 40013, Message: "bad\n" + c.Secret + " parent-0123456789\x1b[31m" + strings.Repeat("x", 1000)})
		failure := failing(t, newSource(t, sandbox, c), coordinator.FetchRequest{Parent: record("parent-0123456789")})
		if strings.ContainsAny(failure.Message, "\n\x1b") || len(failure.Message) > 500 {
			t.Errorf("Message = %q", failure.Message)
		}
	}
	err := wecom.Prober{Transport: leaky{}}.Probe(t.Context(), coordinator.NewToken("token-0123456789"))
	if err == nil || strings.Contains(err.Error(), "token-0123456789") {
		t.Errorf("Probe = %v", err)
	}
}

func TestSourcesDoNotShowTheSecret(t *testing.T) {
	config := wecom.Config{CorpID: corpID, Secret: secret}
	s := newSource(t, nil, config)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{config, &config, s, struct{ S *wecom.Source }{s}} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, secret) {
				t.Errorf("Sprintf(%q) = %s", format, text)
			}
		}
	}
	if encoded, err := json.Marshal([]any{config, s}); err != nil || strings.Contains(string(encoded), secret) {
		t.Errorf("Marshal = %s, %v", encoded, err)
	}
	other := newSource(t, nil, wecom.Config{CorpID: corpID, Secret: secret + "x"})
	if c := s.Credential(); len(c) != 8 || c == other.Credential() {
		t.Errorf("Credential() = %q", c)
	}
	if c := newSource(t, nil, wecom.Config{Kind: wecom.AgentTicket}).Credential(); c != "" {
		t.Errorf("the credential of a ticket is %q, want none", c)
	}
}

func TestWrongConfigurationIsSaid(t *testing.T) {
	for field, c := range map[string]wecom.Config{
		"corpid":         {Secret: secret},
		"secret":         {CorpID: corpID},
		"secret: holds":  {CorpID: corpID, Secret: secret + "\n"},
		"corpid: holds":  {CorpID: "ww 1", Secret: secret},
		"source":         {Kind: "wecom_ticket"},
		"corpid, secret": {Kind: wecom.JSAPITicket, CorpID: corpID},
		"\"of\"":         {Kind: wecom.AgentTicket, Secret: secret},
		"api_base":       {CorpID: corpID, Secret: secret, BaseURL: "qyapi.weixin.qq.com"},
		"unencrypted":    {CorpID: corpID, Secret: secret, BaseURL: "http://qyapi.weixin.qq.com"},
		"no user":        {CorpID: corpID, Secret: secret, BaseURL: "https://u:p@example.com"},
		"parsed":         {CorpID: corpID, Secret: secret, BaseURL: "https://exa mple.com"},
	} {
		s, err := c.Source()
		if err == nil || s != nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v: %v, %v, want an error about %s", c, s, err, field)
		}
	}
}
