package auth

import (
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestCredentialsAreReadFromEveryPlace(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	headers := map[string]Credentials{
		basic("ci:pass"):                                {"ci", "pass"},
		basic("ci:pass:word"):                           {"ci", "pass:word"},
		basic("用户:密码"):                                  {"用户", "密码"},
		"basic" + basic("ci:pass")[5:]:                  {"ci", "pass"},
		"Bearer ci:pass":                                {"ci", "pass"},
		"bearer  ci:pa ss ":                             {"ci", "pa ss"},
		basic("ci:" + strings.Repeat("p", maxPassword)): {"ci", strings.Repeat("p", maxPassword)},
		"Bearer ci~pass":                                {"ci", "pass"},
		"Bearer ci~pa:ss":                               {"ci", "pa:ss"},
		"Bearer ci:pa~ss":                               {"ci", "pa~ss"},
		basic("ci:pa~ss"):                               {"ci", "pa~ss"},
		basic("ci~pass"):                                {},
		"Bearer ~pass":                                  {},
		"Bearer ci~":                                    {},
		"":                                              {},
		"Basic":                                         {},
		"Basic ":                                        {},
		"Basic !!!":                                     {},
		basic("ci"):                                     {},
		basic(":pass"):                                  {},
		basic("ci:"):                                    {},
		"Bearer":                                        {},
		"Bearer 92_token":                               {},
		"Digest username=\"a\"":                         {},
		"Basic " + strings.Repeat("QUFB", 1<<18):        {},
	}
	for header, want := range headers {
		got, ok := FromAuthorization(header)
		if got != want || ok != (want != Credentials{}) {
			t.Errorf("FromAuthorization(%.40q) = %q %q, %v", header, got.Name, got.Password, ok)
		}
	}
	forms := map[string]Credentials{
		"name=ci&password=pass":                 {"ci", "pass"},
		"UserName=ci&Password=pa%26ss&appid=wx": {"ci", "pa&ss"},
		"name=ci&Password=pass":                 {"ci", "pass"},
		"name=ci&UserName=root&password=pass":   {},
		"name=ci&name=root&password=pass":       {},
		"name=ci&password=a&Password=b":         {},
		"name=ci":                               {},
		"name=&password=pass":                   {},
		"":                                      {},
	}
	for form, want := range forms {
		values, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := FromForm(values); got != want || ok != (want != Credentials{}) {
			t.Errorf("FromForm(%s) = %q %q, %v", form, got.Name, got.Password, ok)
		}
	}
}

func TestAddrReadsRemoteAddresses(t *testing.T) {
	for remote, want := range map[string]netip.Addr{
		"192.0.2.1:4711": here, "[2001:db8::1]:80": netip.MustParseAddr("2001:db8::1"), "@": {}, "": {},
	} {
		if got := Addr(remote); got != want {
			t.Errorf("Addr(%q) = %v, want %v", remote, got, want)
		}
	}
}

func FuzzFromAuthorization(f *testing.F) {
	f.Add("Basic Y2k6cGFzcw==")
	f.Add("Bearer ci:pass")
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := FromAuthorization(header)
		if ok != (c.Name != "" && c.Password != "") || strings.Contains(c.Name, ":") {
			t.Errorf("FromAuthorization(%q) = %q %q, %v", header, c.Name, c.Password, ok)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	f.Add(alice().PasswordHashes[0])
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseHash(s)
		if err == nil && (len(d.sum) != sumSize || d.cost.KiB > maxKiB || d.cost.Passes < 1 || d.cost.Lanes < 1) {
			t.Errorf("parseHash(%q) = %+v", s, d)
		}
	})
}

func BenchmarkFromAuthorization(b *testing.B) {
	header := "Basic " + base64.StdEncoding.EncodeToString([]byte("plain:0123456789abcdef0123456789abcdef"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := FromAuthorization(header); !ok {
			b.Fatal("not read")
		}
	}
}
