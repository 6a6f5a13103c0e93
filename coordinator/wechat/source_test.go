package wechat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// leakyTransport puts the URL, with the secret, into its errors.
type leakyTransport struct{ err error }

func (l leakyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: req.URL.String(), Err: fmt.Errorf("%s: %w", req.URL, l.err)})
}

func TestErrorsOfTheTransportAreClean(t *testing.T) {
	for _, cause := range []error{io.ErrUnexpectedEOF, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, context.DeadlineExceeded} {
		s, err := wechat.Config{AppID: appID, Secret: secret, Transport: leakyTransport{cause}}.Source()
		if err != nil {
			t.Fatal(err)
		}
		_ = failing(t, s, coordinator.FetchRequest{}) // checks it
	}
}

func TestAnEchoedSecretIsTakenOut(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40125, Message: "bad\nsecret " + secret + "\x1b[31m" + strings.Repeat("x", 1000)})
	failure := failing(t, source(t, sandbox, wechat.Classic), coordinator.FetchRequest{})
	if strings.ContainsAny(failure.Message, "\n\x1b") || len(failure.Message) > 500 {
		t.Errorf("Message = %q", failure.Message)
	}
}

func TestSourcesDoNotShowTheSecret(t *testing.T) {
	config := wechat.Config{AppID: appID, Secret: secret}
	s := wechat.NewSource(appID, secret)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{config, &config, s, struct{ S *wechat.Source }{s}} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, secret) {
				t.Errorf("Sprintf(%q) = %s", format, text)
			}
		}
	}
	if encoded, err := json.Marshal([]any{config, s}); err != nil || strings.Contains(string(encoded), secret) {
		t.Errorf("Marshal = %s, %v", encoded, err)
	}
	if c := s.Credential(); len(c) != 8 || c == wechat.NewSource(appID, secret+"x").Credential() || c != source(t, wechattest.New(wechattest.Config{}), wechat.Stable).Credential() {
		t.Errorf("Credential() = %q", c)
	}
}

func TestWrongConfigurationIsSaid(t *testing.T) {
	for _, c := range []wechat.Config{
		{Secret: secret},
		{AppID: appID},
		{AppID: appID, Secret: secret + "\n"},
		{AppID: "wx 1", Secret: secret},
		{AppID: appID, Secret: secret, Kind: "tokens"},
		{AppID: appID, Secret: secret, BaseURL: "api.weixin.qq.com"},
		{AppID: appID, Secret: secret, BaseURL: "http://api.weixin.qq.com"},
		{AppID: appID, Secret: secret, BaseURL: "https://u:p@example.com"},
		{AppID: appID, Secret: secret, BaseURL: "https://example.com?a=b"},
		{AppID: appID, Secret: secret, BaseURL: "https://exa mple.com"},
		{AppID: appID, Secret: secret, Fallbacks: []string{"ftp://example.com"}},
	} {
		s, err := c.Source()
		if err == nil || s != nil {
			t.Errorf("New(%v) = %v, %v, want an error", c, s, err)
		}
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if failure := failing(t, wechat.NewSource("", ""), coordinator.FetchRequest{}); failure.Kind != coordinator.FailedRefused || failure.Calls != 0 {
		t.Errorf("a source without AppID failed with %+v", failure)
	}
}
