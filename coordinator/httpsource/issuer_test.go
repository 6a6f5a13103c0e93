package httpsource_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// ours is a description to begin with.
func ours() *httpsource.Issuer {
	return &httpsource.Issuer{
		Parameters: []httpsource.Parameter{{Name: "id"}, {Name: "secret", Secret: true}},
		Request: httpsource.Request{
			Method: "POST", URL: "https://issuer.example/token", Body: "form",
			Fields: map[string]string{"id": "{id}", "secret": "{secret}"},
		},
		Answer: httpsource.Answer{
			Token: "access_token", Life: httpsource.Life{Field: "expires_in"},
			Code: "code", Success: []httpsource.Value{"0"}, Message: "message",
		},
		Repeat: "keeps",
	}
}

func TestValidateNamesEachWrongField(t *testing.T) {
	if err := ours().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(i *httpsource.Issuer)
		want   string
	}{
		{func(i *httpsource.Issuer) { i.Parameters[0].Name = "Id" }, `parameters[0].name is "Id": use lower-case letters`},
		{func(i *httpsource.Issuer) { i.Parameters[0].Name = "sign" }, `parameters[0].name is "sign": it is there twice`},
		{func(i *httpsource.Issuer) { i.Parameters[1].Default = "x" }, "parameters[1].default must not be set: a secret has no default"},
		{func(i *httpsource.Issuer) { i.Request.Method = "PUT" }, `request.method is "PUT"`},
		{func(i *httpsource.Issuer) { i.Request.Method = "GET" }, `request.body is "form": a GET has none`},
		{func(i *httpsource.Issuer) { i.Request.Body = "xml" }, `request.body is "xml": it must be one of query, form, json, none`},
		{func(i *httpsource.Issuer) { i.Request.Body = "none" }, "request.fields must not be set"},
		{func(i *httpsource.Issuer) { i.Request.URL = "" }, "request.url must look like"},
		{func(i *httpsource.Issuer) { i.Request.URL = "http://issuer.example/" }, "request.url would send the secret unencrypted"},
		{func(i *httpsource.Issuer) { i.Request.URL = "https://a:b@issuer.example/" }, "request.url must have no user"},
		{func(i *httpsource.Issuer) { i.Request.URL = "https://issuer.example/{tenant}" }, "request.url uses {tenant}: no parameter"},
		{func(i *httpsource.Issuer) { i.Request.Fields["id"] = "{id" }, "request.fields.id has a { without a }"},
		{func(i *httpsource.Issuer) { i.Request.Fields["id"] = "id}" }, "request.fields.id has a } without a {"},
		{func(i *httpsource.Issuer) { i.Request.Headers = map[string]string{"X-Sign": "{sign}"} }, "request.sign is missing: request.headers.X-Sign"},
		{func(i *httpsource.Issuer) { i.Request.Sign = httpsource.Sign{Algorithm: "sha1", Text: "{id}"} }, `request.sign.algorithm is "sha1"`},
		{func(i *httpsource.Issuer) { i.Request.Sign = httpsource.Sign{Algorithm: "md5", Text: "{sign}"} }, "request.sign.text has {sign}"},
		{func(i *httpsource.Issuer) { i.Request.Numbers = []string{"id"} }, `request.numbers has "id"`},
		{func(i *httpsource.Issuer) { i.Answer.Token = "" }, "answer.token is missing"},
		{func(i *httpsource.Issuer) { i.Answer.Token = "data..token" }, `answer.token is "data..token"`},
		{func(i *httpsource.Issuer) { i.Answer.Life = httpsource.Life{} }, "answer.life needs either a field or a default"},
		{func(i *httpsource.Issuer) { i.Answer.Life.Default = 1 }, "answer.life needs either a field or a default"},
		{func(i *httpsource.Issuer) { i.Answer.Life = httpsource.Life{Default: -1} }, "answer.life.default is -1ns"},
		{func(i *httpsource.Issuer) { i.Answer.Life.Unit = "minutes" }, `answer.life.unit is "minutes"`},
		{func(i *httpsource.Issuer) { i.Answer.Code = "" }, "answer.code is missing: answer.success"},
		{func(i *httpsource.Issuer) { i.Answer.Attributes = map[string]string{"scope": ""} }, "answer.attributes.scope is missing"},
		{func(i *httpsource.Issuer) { i.Codes = []httpsource.Class{{Kind: "busy", Meaning: "x"}} }, "codes[0] needs one of code, status and page"},
		{func(i *httpsource.Issuer) { i.Codes = []httpsource.Class{{Code: "1", Kind: "unknown", Meaning: "x"}} }, `codes[0].kind is "unknown"`},
		{func(i *httpsource.Issuer) { i.Codes = []httpsource.Class{{Code: "1", Kind: "parent", Meaning: "x"}} }, `codes[0].kind is "parent": no template`},
		{func(i *httpsource.Issuer) { i.Codes = []httpsource.Class{{Code: "1", Kind: "busy"}} }, "codes[0].meaning is missing"},
		{func(i *httpsource.Issuer) { i.Repeat = "" }, `repeat is "": it must be one of kills, same, keeps`},
		{func(i *httpsource.Issuer) { i.Overlap = 1 }, `overlap must not be set: with repeat "keeps"`},
		{func(i *httpsource.Issuer) { i.Rollover = 1 }, "rollover must not be set unless repeat is same"},
		{func(i *httpsource.Issuer) { i.RefreshEvery = 1 }, "refresh_every is 1ns"},
		{func(i *httpsource.Issuer) { i.Limits.PerDay = 1 }, "limits.per_day is 1"},
		{func(i *httpsource.Issuer) { i.Limits.PerDay, i.Limits.Reserve = 10, 10 }, "limits.reserve is 10"},
		{func(i *httpsource.Issuer) { i.Limits.Window = 60e9 }, "limits.window is 1m0s"},
		{func(i *httpsource.Issuer) { i.Limits.MinInterval = -1 }, "limits.min_interval is -1ns"},
		{func(i *httpsource.Issuer) { i.Use.Put = "cookie" }, `use.put is "cookie"`},
		{func(i *httpsource.Issuer) { i.Use.Put = "query" }, `use.put is "query"`},
		{func(i *httpsource.Issuer) { i.Use.Base = "https://x" }, "use.put is missing"},
		{func(i *httpsource.Issuer) { i.Use.Put, i.Use.Scheme = "bearer", "Bot" }, "use.scheme must not be set"},
		{func(i *httpsource.Issuer) { i.Probe.Method, i.Probe.URL = "GET", "https://x/" }, "use.put is missing: the probe"},
	} {
		i := ours()
		c.change(i)
		if err := i.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Validate() = %v, want %s", err, c.want)
		}
	}
}

func TestDescriptionsAreReadStrictly(t *testing.T) {
	text, err := json.Marshal(ours())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := httpsource.DecodeIssuer(text); err != nil {
		t.Errorf("DecodeIssuer(%s) = %v", text, err)
	}
	for change, want := range map[[2]string]string{
		{`"method"`, `"methods"`}:                      `unknown field "methods"`,
		{`"repeat":"keeps"`, `"repeat":"sometimes"`}:   `repeat is "sometimes"`,
		{`"life":{`, `"life":{"default":"two hours",`}: `"two hours" is no duration`,
		{`{"title"`, `{}{"title"`}:                     "after the description",
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if _, err := httpsource.DecodeIssuer([]byte(changed)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", changed, err, want)
		}
	}
}

func TestAPresetSurvivesTheWayToJSONAndBack(t *testing.T) {
	for _, p := range httpsource.Presets() {
		text, err := json.Marshal(p.Issuer)
		if err != nil {
			t.Fatal(err)
		}
		again, err := httpsource.DecodeIssuer(text)
		if err != nil || fmt.Sprint(*again) != fmt.Sprint(*p.Issuer) {
			t.Errorf("%s: %v\n%+v\n%+v", p.Name, err, again, p.Issuer)
		}
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	good := map[string]string{"app_id": "cli_1", "app_secret": "sesame-sesame"}
	with := func(name, value string) map[string]string {
		return map[string]string{"app_id": "cli_1", "app_secret": "sesame-sesame", name: value}
	}
	for want, c := range map[string]httpsource.Config{
		"preset: is missing":            {},
		`preset: there is no "feishuu"`: {Preset: "feishuu"},
		"not both":                      {Preset: "feishu_app", Issuer: ours()},
		"repeat is":                     {Issuer: &httpsource.Issuer{}},
		"app_secret: is missing":        {Preset: "feishu_app", Parameters: with("app_secret", "")},
		"app_secret: holds a blank":     {Preset: "feishu_app", Parameters: with("app_secret", "sesame\n")},
		"appid: the issuer has no such": {Preset: "feishu_app", Parameters: with("appid", "x")},
		"the request cannot be made":    {Preset: "feishu_app", Parameters: with("host", "open.feishu.cn/x")},
		"the base URL must look like":   {Preset: "feishu_app", Parameters: good, BaseURL: "localhost:8080"},
		"without user, query":           {Preset: "feishu_app", Parameters: good, BaseURL: "https://a:b@c"},
	} {
		_, err := c.Source()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("Source() = %v, want %s", err, want)
		}
	}
	for base, refused := range map[string]bool{
		"http://feishu.example.com": true, "http://203.0.113.7": true, "http://open.feishu.cn": true,
		"http://127.0.0.1:9090/relay": false, "http://localhost:9090": false, "http://[::1]:9090": false, "http://10.0.0.5": false,
		"http://relay": false, "http://relay.default.svc": false, "https://feishu.example.com": false,
	} {
		_, err := httpsource.Config{Preset: "feishu_app", Parameters: good, BaseURL: base}.Source()
		if got := err != nil && strings.Contains(err.Error(), "the base URL would send the secret unencrypted: use https"); got != refused || err != nil && !got {
			t.Errorf("%s: %v", base, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", httpsource.Config{Parameters: good}, httpsource.Config{Parameters: good}, httpsource.Config{Parameters: good}); strings.Contains(text, "sesame") {
		t.Errorf("a Config prints as %s", text)
	}
}

func TestACredentialIsThatOfAllParameters(t *testing.T) {
	credential := func(id, secret string) string {
		s, err := httpsource.Config{Issuer: ours(), Parameters: map[string]string{"id": id, "secret": secret}}.Source()
		if err != nil {
			t.Fatal(err)
		}
		return s.Credential()
	}
	a := credential("a", "sesame")
	if len(a) != 8 || a != credential("a", "sesame") || a == credential("b", "sesame") || a == credential("a", "open") {
		t.Errorf("Credential() = %s", a)
	}
}
