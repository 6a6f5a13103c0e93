package wechat_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// What the documentation of the JS-SDK signs.
const docTicket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"

func TestSignaturesAreThoseOfTheDocumentation(t *testing.T) {
	ticket := coordinator.NewToken(docTicket)
	for page, want := range map[string]string{
		"http://mp.weixin.qq.com":              "f4d90daf4b3bca3078ab155816175ba34c443a7b",
		"http://mp.weixin.qq.com?params=value": "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
	} {
		if got := wechat.JSSDKSignature(ticket, "Wm3WZYTPz0wzccnW", 1414587457, page); got != want {
			t.Errorf("JSSDKSignature(%s) = %s, want %s", page, got, want)
		}
	}
	card := coordinator.NewToken("ojZ8YtyVyr30HheH3CM73y7h4jJE")
	values := []string{"1434008071", "1404896688", "pjZ8Yt1XGILfi-FUsewpnnolGgZk", "123"}
	for range len(values) {
		values = append(values[1:], values[0])
		if got := wechat.CardSignature(card, values...); got != "f137ab68b7f8112d20ee528ab6074564e2796250" {
			t.Errorf("CardSignature(%q) = %s", values, got)
		}
	}
	if !slices.Contains(values, "123") || values[0] != "1434008071" {
		t.Errorf("CardSignature changed its arguments: %q", values)
	}
}

func pages(t testing.TB, hosts ...string) wechat.Pages {
	t.Helper()
	p, err := wechat.ParsePages(hosts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPageGetsWhatWxConfigTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticket := coordinator.NewToken(docTicket)
		allowed := pages(t, "m.example.com")
		seen := make(map[string]bool)
		for range 100 {
			got, err := allowed.Sign(appID, ticket, "https://m.example.com/a?b=%20c&from=timeline#top")
			if err != nil {
				t.Fatal(err)
			}
			want := wechat.JSSDKSignature(ticket, got.NonceStr, time.Now().Unix(), "https://m.example.com/a?b=%20c&from=timeline")
			if got.AppID != appID || got.Timestamp != time.Now().Unix() || got.Signature != want || seen[got.NonceStr] {
				t.Fatalf("Sign() = %+v", got)
			}
			seen[got.NonceStr] = true
			text, err := json.Marshal(got)
			if err != nil || strings.Contains(string(text), docTicket) {
				t.Fatalf("Marshal() = %s, %v", text, err)
			}
			var fields map[string]any
			if err := json.Unmarshal(text, &fields); err != nil || len(fields) != 4 || fields["nonceStr"] != got.NonceStr || fields["appId"] != appID {
				t.Fatalf("%s: %v", text, err)
			}
		}
	})
}

// A browser shows a slash where the URL has no path, so it is signed with one.
func TestABareHostIsSignedWithItsSlash(t *testing.T) {
	ticket := coordinator.NewToken(docTicket)
	for page, signed := range map[string]string{
		"https://m.example.com":         "https://m.example.com/",
		"https://m.example.com#top":     "https://m.example.com/",
		"https://m.example.com?a=b":     "https://m.example.com/?a=b",
		"https://m.example.com/?a=b#/c": "https://m.example.com/?a=b",
	} {
		got, err := pages(t, "m.example.com").Sign(appID, ticket, page)
		if err != nil || got.Signature != wechat.JSSDKSignature(ticket, got.NonceStr, got.Timestamp, signed) {
			t.Errorf("Sign(%s) = %+v, %v", page, got, err)
		}
	}
}

func TestOnlyPagesOfTheAllowedHostsAreSigned(t *testing.T) {
	allowed := pages(t, "m.example.com", "shop.example.com:8443", "*.wild.example.com", "XN--FIQS8S.example")
	for page, want := range map[string]string{
		"http://m.example.com/":             "",
		"https://m.example.com/\\@evil.com": "",
		"https://m.example.com/?a=\u4e2d":   "",
		"https://m.example.com/%zz":         "",
		"https://shop.example.com:8443/x":   "",
		"https://a.wild.example.com/":       "",
		"https://a.b.wild.example.com/":     "",
		"https://xn--fiqs8s.example/":       "",

		"https://evil.com/":                           "not one of",
		"https://example.com/":                        "not one of",
		"https://m.example.com.evil.com/":             "not one of",
		"https://evilm.example.com/":                  "not one of",
		"https://m.example.com:8443/":                 "not one of",
		"https://m.example.com:443/":                  "not one of",
		"https://shop.example.com/":                   "not one of",
		"https://wild.example.com/":                   "not one of",
		"https://evilwild.example.com/":               "not one of",
		"https://a.wild.example.com:81/":              "not one of",
		"https://evil.com?https://m.example.com/":     "not one of",
		"https://evil.com#@m.example.com/":            "not one of",
		"https://m.example.com@evil.com/":             "without a user",
		"https://evil.com@m.example.com/":             "without a user",
		"https://m.example.com:x@evil.com/":           "without a user",
		"https://m.example.com\\@evil.com/":           "location.href",
		"https://evil.com\\.m.example.com/":           "location.href",
		"https://m.example.com./":                     "location.href",
		"https://.wild.example.com/":                  "location.href",
		"https://a..wild.example.com/":                "location.href",
		"https://M.example.com/":                      "location.href",
		"https://m.example.com:/":                     "location.href",
		"https://m.example.com:08443/":                "location.href",
		"https://m.example.com:99999/":                "location.href",
		"https://m.ex\tample.com/":                    "location.href",
		"https://m.example.com\t/":                    "location.href",
		"https://m%2eexample.com/":                    "location.href",
		"https://\uff4d.example.com/":                 "location.href",
		"https://\u4e2d\u56fd.example/":               "location.href",
		"https://m.example.com\u3002/":                "location.href",
		"https://[::1]/":                              "location.href",
		"https:///m.example.com/":                     "location.href",
		"https://":                                    "location.href",
		"https://m.example.com/a b":                   "without blanks",
		"https://m.example.com/a\nb":                  "without blanks",
		"https://m.example.com/\x7f":                  "without blanks",
		"HTTPS://m.example.com/":                      "must begin with",
		"ftp://m.example.com/":                        "must begin with",
		"javascript://m.example.com/%0aalert(1)":      "must begin with",
		"//m.example.com/":                            "must begin with",
		"m.example.com/":                              "must begin with",
		" https://m.example.com/":                     "must begin with",
		"https:\\\\m.example.com/":                    "must begin with",
		"":                                            "must begin with",
		"file:///etc/passwd?x=https://m.example.com/": "must begin with",
	} {
		_, err := allowed.Sign(appID, coordinator.NewToken(docTicket), page)
		switch {
		case want == "" && err != nil:
			t.Errorf("Sign(%q) = %v", page, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, wechat.ErrForeignPage) != (want == "not one of")):
			t.Errorf("Sign(%q) = %v, want an error with %q", page, err, want)
		}
	}
	if _, err := (wechat.Pages{}).Sign(appID, coordinator.NewToken(docTicket), "https://m.example.com/"); !errors.Is(err, wechat.ErrForeignPage) {
		t.Errorf("no list: %v", err)
	}
	if _, err := allowed.Sign(appID, coordinator.Token{}, "https://m.example.com/"); err == nil {
		t.Error("no ticket, and yet a signature")
	}
}

// What is signed has no escapes: the nonce of another page may hold the beginning of
// this one's text.
func TestASignatureIsOfNoOtherPage(t *testing.T) {
	ticket := coordinator.NewToken(docTicket)
	allowed := pages(t, "m.example.com")
	const trick = "https://m.example.com/?a&timestamp=2&url=https://evil.com/"
	ours := wechat.JSSDKSignature(ticket, "N", 1, trick)
	theirs := wechat.JSSDKSignature(ticket, "N&timestamp=1&url=https://m.example.com/?a", 2, "https://evil.com/")
	if ours != theirs {
		t.Fatal("the attack that Sign prevents is none")
	}
	for page, refused := range map[string]bool{
		trick: true,
		"https://m.example.com/a&timestamp=2&url=https://evil.com/":                                 true,
		"https://m.example.com/?a&timestamp=2&b=c&url=http://evil.com/":                             true,
		"https://m.example.com/?a&timestamp=2&url=x&url=http://evil.com":                            true,
		"https://m.example.com/?a&timestamp=2&url=https://m.example.com/&url=http://evil.com":       true,
		"https://m.example.com/?a&timestamp=2&url=https://m.example.com@evil.com/":                  true,
		"https://m.example.com/?a&timestamp=2&url=https://m.example.com/":                           false,
		"https://m.example.com/?a&timestamp=2&url=https%3A%2F%2Fevil.com/":                          false,
		"https://m.example.com/?a&timestamp=2&url=/c":                                               false,
		"https://m.example.com/?url=https://evil.com/&timestamp=2":                                  false,
		"https://m.example.com/?a" + strings.Repeat("&timestamp=2&url=https://m.example.com/", 1e4): false,
	} {
		if _, err := allowed.Sign(appID, ticket, page); (err != nil) != refused {
			t.Errorf("Sign(%.100s) = %v", page, err)
		}
	}
}

func TestAListOfHostsIsChecked(t *testing.T) {
	for _, hosts := range [][]string{
		nil, {}, {""}, {"*"}, {"*.com"}, {"*."}, {"*.*.example.com"}, {"m.*.example.com"}, {"https://m.example.com"}, {"m.example.com/"},
		{"m.example.com."}, {".example.com"}, {"user@m.example.com"}, {"m.example.com:0"}, {"m.example.com:port"}, {"\u4e2d\u56fd.example"},
		{"m.example.com", "a b"}, {"[::1]"}, {"m.example.com\\"},
	} {
		if _, err := wechat.ParsePages(hosts); err == nil {
			t.Errorf("ParsePages(%q) = nil, want an error", hosts)
		}
	}
	pages(t, "localhost:3000", "127.0.0.1", "M.Example.com", "*.example.com", "*.example.com:8443")
}

// However a URL is written: if it is signed, then every reader of URLs finds an allowed
// host in it.
func FuzzSignedPages(f *testing.F) {
	for _, seed := range []string{
		"https://m.example.com/a?b#c", "https://a.wild.example.com", "https://m.example.com\\@evil.com/", "https://m.example.com:443@evil.com",
		"https://evil.com\\.m.example.com", "http:\\m.example.com", "https://m.example.com?a&timestamp=2&url=https://evil.com/", "https://m.example.com.",
	} {
		f.Add(seed)
	}
	allowed := pages(f, "m.example.com", "*.wild.example.com")
	isAllowed := func(host string) bool {
		return host == "m.example.com" || strings.HasSuffix(host, ".wild.example.com") && !strings.HasPrefix(host, ".")
	}
	f.Fuzz(func(t *testing.T, page string) {
		if _, err := allowed.Sign(appID, coordinator.NewToken(docTicket), page); err != nil {
			return
		}
		page, _, _ = strings.Cut(page, "#")
		if u, err := url.Parse(page); err == nil && (u.User != nil || !isAllowed(u.Host)) {
			t.Errorf("url.Parse(%q) has the host %q", page, u.Host)
		}
		if host := browsersHost(page); !isAllowed(host) {
			t.Errorf("a browser finds the host %q in %q", host, page)
		}
		for at := range page { // each place where another page's URL may begin
			before, other := page[:at], page[at:]
			if !strings.HasSuffix(before, "&url=") || !strings.Contains(strings.TrimSuffix(before, "&url="), "&timestamp=") {
				continue
			}
			isPage := strings.HasPrefix(other, "http://") || strings.HasPrefix(other, "https://")
			if isPage && !isAllowed(browsersHost(other)) {
				t.Errorf("the signature of %q is that of %q as well", page, other)
			}
		}
	})
}

// browsersHost is what a browser takes for the host of an http URL: it drops tabs and
// line breaks, and takes a backslash for a slash.
func browsersHost(page string) string {
	page = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(page)
	_, rest, _ := strings.Cut(page, ":")
	rest = strings.TrimLeft(rest, "/")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return strings.ToLower(rest[strings.LastIndexByte(rest, '@')+1:])
}
