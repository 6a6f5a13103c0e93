package wechattest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestARelayRewritesWhatWeChatAnswers(t *testing.T) {
	for name, want := range map[wechattest.Recoding]string{
		wechattest.RecodeOK:         `{"access_token":"90_x","errcode":0,"errmsg":"ok","expires_in":7200}`,
		wechattest.RecodeSuccess:    `{"access_token":"90_x","errcode":200,"errmsg":"success","expires_in":7200}`,
		wechattest.RecodeNulls:      `{"access_token":"90_x","errcode":null,"errmsg":null,"expires_in":7200}`,
		wechattest.RecodeFraction:   `{"access_token":"90_x","expires_in":7200.0}`,
		wechattest.RecodeExponent:   `{"access_token":"90_x","expires_in":7.2e+03}`,
		wechattest.RecodeQuoted:     `{"access_token":"90_x","expires_in":"7200"}`,
		wechattest.RecodeDuplicates: `{"access_token":"former","expires_in":1,"access_token":"90_x","expires_in":7200}`,
		wechattest.RecodeTrailing:   `{"access_token":"90_x","expires_in":7200}` + "\n<!-- relay -->",
		wechattest.RecodeLeading:    "<!-- relay -->\n" + `{"access_token":"90_x","expires_in":7200}`,
		wechattest.RecodeBlanks:     "\r\n\t " + `{"access_token":"90_x","expires_in":7200}` + " \r\n\r\n",
		wechattest.RecodeBOM:        "\ufeff" + `{"access_token":"90_x","expires_in":7200}`,
		wechattest.RecodeGzip:       "\x1f\x8b",
		wechattest.RecodeUnzipped:   `{"access_token":"90_x","expires_in":7200}`,
	} {
		t.Run(string(name), func(t *testing.T) {
			s, c := served(t)
			var knobs wechattest.Knobs
			c.must(http.MethodPost, "/sandbox/knobs", `{"relay":["`+string(name)+`"]}`, &knobs)
			if len(knobs.Relay) != 1 || knobs.Relay[0] != name {
				t.Errorf("the knob is %q", knobs.Relay)
			}
			if _, err := s.Inject(wechattest.Fault{Kind: wechattest.FaultBody, Body: `{"access_token":"90_x","expires_in":7200}`}); err != nil {
				t.Fatal(err)
			}
			resp, err := s.Client().Get(base + "/cgi-bin/token")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			zipped := resp.Header.Get("Content-Encoding") == "gzip"
			if err != nil || !strings.HasPrefix(string(body), want) || want[0] != '\x1f' && len(body) != len(want) {
				t.Errorf("%q, %v, want %q", body, err, want)
			}
			if zipped != (name == wechattest.RecodeGzip || name == wechattest.RecodeUnzipped) {
				t.Errorf("Content-Encoding: %q", resp.Header.Get("Content-Encoding"))
			}
		})
	}
}

func TestARelayRewritesRefusalsAndLeavesTheRestAlone(t *testing.T) {
	knobs := wechattest.DefaultKnobs()
	knobs.Relay = []wechattest.Recoding{wechattest.RecodeBOM, wechattest.RecodeMessage, wechattest.RecodeQuoted}
	s := wechattest.New(wechattest.Config{Knobs: &knobs})
	for fault, want := range map[wechattest.Fault]string{
		{Kind: wechattest.FaultErrcode, Code: 40125, Message: "no"}: "\ufeff" + `{"errcode":"40125","errmsg":{"text":"no"}}`,
		{Kind: wechattest.FaultEmpty}:                               "",
		{Kind: wechattest.FaultNull}:                                "null",
		{Kind: wechattest.FaultBody, Body: "{}"}:                    "\ufeff{}",
		{Kind: wechattest.FaultBody, Body: "<html>"}:                "<html>",
	} {
		s.Clear()
		if _, err := s.Inject(fault); err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Get(base + "/cgi-bin/token")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("%s: %q, %v, want %q", fault.Kind, body, err, want)
		}
	}
}
