package httpapi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const boundary = "------------------------9a1b2c3d4e5f6071"

// parts is a multipart form of pairs of names and values.
func parts(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n", boundary, pairs[i], pairs[i+1])
	}
	return b.String() + "--" + boundary + "--\r\n"
}

func TestEveryPlausibleRequestOfTheFormGetsTheBareToken(t *testing.T) {
	s := newStage(t)
	const multipart = "multipart/form-data; boundary=" + boundary
	for _, c := range []struct{ kind, body string }{
		{formType, "UserName=reader&Password=reader-password"},
		{formType, "Password=reader-password&UserName=reader"},
		{formType, "name=reader&password=reader-password"},
		{formType, "USERNAME=reader&PASSWORD=reader-password&APPID=" + wxa},
		{formType, "username=reader&password=reader-password&AppId=" + wxa},
		{formType, "name=reader&Password=reader-password&appid=" + wxa},
		{formType, "name=reader&password=reader-password&appid="},
		{formType, "name=reader&password=reader%2Dpassword&submit=OK"},
		{formType, "UserName=reader&Password=reader-password\r\n"},
		{formType, "name=admin&password=admin-password&appid=" + wxa},
		{formType + "; charset=utf-8", "UserName=reader&Password=reader-password"},
		{formType + ";charset=UTF-8", "UserName=reader&Password=reader-password"},
		{formType + "; charset=GBK", "UserName=reader&Password=reader-password"},
		{formType + "; charset", "UserName=reader&Password=reader-password"},
		{"Application/X-WWW-Form-URLEncoded", "UserName=reader&Password=reader-password"},
		{"", "UserName=reader&Password=reader-password"},
		{"text/plain; charset=UTF-8", "UserName=reader&Password=reader-password"},
		{"application/octet-stream", "UserName=reader&Password=reader-password"},
		{multipart, parts("UserName", "reader", "Password", "reader-password")},
		{multipart, parts(`"UserName"`, "reader", `"Password"`, "reader-password", `"appid"`, wxa)},
		{multipart, parts(`"username"; filename="a.txt"`, "reader", "password", "reader-password")},
		{multipart + "; charset=utf-8", parts("name", "reader", "password", "reader-password")},
		{`Multipart/Form-Data; boundary="` + boundary + `"`, parts("name", "reader", "password", "reader-password")},
		{"application/json", `{"UserName":"reader","Password":"reader-password"}`},
		{"application/json; charset=utf-8", `{"name": "reader", "password": "reader-password", "appid": "` + wxa + `"}`},
		{"text/json", ` {"username":"reader","password":"reader-password","appid":null,"more":{"a":[1]}} `},
		{"application/vnd.api+json", `{"username":"reader","password":"reader-password"}`},
		{formType, `{"UserName":"reader","Password":"reader-password"}`}, // curl -d
		{"text/plain", `{"UserName":"reader","Password":"reader-password"}`},
		{"", `{"UserName":"reader","Password":"reader-password"}`},
		// What the body is decides, not what it is called.
		{"application/json", "name=reader&password=reader-password"},
		{"multipart/form-data", "name=reader&password=reader-password"},
		{"multipart/form-data", parts("name", "reader", "password", "reader-password")}, // no boundary: set by hand
		{formType, parts("name", "reader", "password", "reader-password")},
		{"*/*", "name=reader&password=reader-password"},
		{formType + "," + formType, "name=reader&password=reader-password"},
		{formType + " charset=utf-8", "name=reader&password=reader-password"},
		{formType, "\ufeffUserName=reader&Password=reader-password"}, // a StreamWriter of .NET
		{"application/json", "\ufeff" + `{"UserName":"reader","Password":"reader-password"}`},
		{formType, "?UserName=reader&Password=reader-password"},
	} {
		r := s.ask("", "POST", "/GetToken/", c.body, "Content-Type", c.kind)
		if !isBareToken(r) {
			t.Errorf("%s: %s: %d %s, want the bare token", c.kind, c.body, r.status, r.body)
		}
	}
	for _, path := range []string{
		"/GetToken", "/GetToken/", "//GetToken", "/GetToken//", "/gettoken", "/gettoken/", "/GETTOKEN", "/GETTOKEN/", "/getToken", "/Get%54oken/",
		"/GetToken/?from=old",
	} {
		r := s.ask("", "POST", path, "UserName=reader&Password=reader-password", "Content-Type", formType)
		if !isBareToken(r) {
			t.Errorf("%s: %d %s, want the bare token", path, r.status, r.body)
		}
	}
	for _, body := range []string{"", "appid=" + wxa} {
		if r := s.ask(reader, "POST", "/GetToken", body, "Content-Type", formType); !isBareToken(r) {
			t.Errorf("HTTP Basic and %q: %d %s, want the bare token", body, r.status, r.body)
		}
	}
	s.nothingIn("the log", s.log.String())
}

func isBareToken(r reply) bool {
	return r.status == 200 && r.body == "token-of-a-1" && r.header.Get("Cache-Control") == "no-store" &&
		strings.HasPrefix(r.header.Get("Content-Type"), "text/plain")
}

func TestWhatTheFormRefusesCannotBeTakenForAToken(t *testing.T) {
	s := newStage(t)
	post := func(body string) reply { return s.ask("", "POST", "/GetToken/", body, "Content-Type", formType) }
	for body, want := range map[string]int{
		"": 401, "UserName=reader": 401, "UserName=reader&Password=": 401, "UserName=reader&name=reader&Password=reader-password": 401,
		"UserName=reader&Password=wrong-password":                401,
		"UserName=reader&Password=reader-password&appid=" + wxb:  403,
		"UserName=reader&Password=reader-password&appid=none":    403,
		"UserName=admin&Password=admin-password&appid=none":      404,
		"UserName=admin&Password=admin-password":                 400, // which account?
		"UserName=admin&Password=admin-password&appid=a&appid=b": 400,
		"%zz": 400,
		"UserName=" + strings.Repeat("a", 17<<10): 413,
	} {
		r := post(body)
		if r.status != want || r.field("error") == nil {
			t.Errorf("%.60s: %d %s, want %d and JSON", body, r.status, r.body, want)
		}
	}
	if r := s.ask(reader, "POST", "/GetToken", "UserName=reader&Password=wrong-password", "Content-Type", formType); r.status != 401 {
		t.Errorf("a wrong form and right HTTP Basic: %d, want 401", r.status)
	}
	for _, c := range []struct {
		kind, body string
		want       int
	}{
		{"application/xml", "<name>reader</name>", 415},
		{"multipart/form-data", parts("name", "reader"), 401},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=name\r\n\r\nreader", 400},
		{"multipart/form-data; boundary=" + boundary, parts("name", "reader", "UserName", "reader", "password", "reader-password"), 401},
		{"application/json", "", 401},
		{"application/json", "[]", 415},
		{"application/json", `"name=reader"`, 415},
		{formType, "\x1f\x8b\x08", 415},
		{"application/json", `{"name":"reader","password":"reader-password"`, 400},
		{"application/json", `{"name":"reader","password":"reader-password"}{}`, 400},
		{"application/json", `{"name":"reader","password":["reader-password"]}`, 401},
		{"application/json", `{"name":"reader","name":"admin","password":"reader-password"}`, 401}, // readers differ in which one they take
	} {
		r := s.ask("", "POST", "/GetToken", c.body, "Content-Type", c.kind)
		if r.status != c.want || r.field("error") == nil {
			t.Errorf("%s: %.60s: %d %s, want %d and JSON", c.kind, c.body, r.status, r.body, c.want)
		}
	}
}

func TestAPasswordInTheAddressIsNotLookedAt(t *testing.T) {
	s := newStage(t)
	query := "?" + url.Values{"UserName": {"reader"}, "Password": {"reader-password"}}.Encode()
	r := s.ask("", "GET", "/GetToken/"+query, "")
	message, _ := r.field("message").(string)
	if r.status != 405 || r.header.Get("Allow") != "POST" || !strings.Contains(message, "POST") || !strings.Contains(message, "body") {
		t.Errorf("GET: %d %s, want 405 that says how to ask", r.status, r.body)
	}
	r = s.ask("", "POST", "/GetToken/"+query, "")
	message, _ = r.field("message").(string)
	if r.status != 401 || !strings.Contains(message, "body") {
		t.Errorf("POST: %d %s, want 401 that says where the fields belong", r.status, r.body)
	}
	s.nothingIn("the log", s.log.String())
}
