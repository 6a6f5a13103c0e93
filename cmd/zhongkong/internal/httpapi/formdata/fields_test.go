package formdata

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestDecodingsHaveWhatWasMeant(t *testing.T) {
	for _, test := range []struct {
		sent string
		want []string
	}{
		{"plain", []string{"plain"}},
		{"a%3Ab", []string{"a:b", "a%3Ab"}},                        // escaped, unless it was pasted
		{"name:a+b", []string{"name:a+b", "name:a b"}},             // a colon that is not escaped: pasted
		{"name~a+b", []string{"name~a b", "name~a+b"}},             // either
		{"50%off", []string{"50%off"}},                             // no escape
		{"a;b", []string{"a;b"}},                                   // url.ParseQuery drops it
		{"n:a%2Bb+c", []string{"n:a+b+c", "n:a+b c", "n:a%2Bb+c"}}, // all of them
	} {
		if got := Decodings(test.sent); !slices.Equal(got, test.want) {
			t.Errorf("Decodings(%q) = %q, want %q", test.sent, got, test.want)
		}
	}
}

func TestParseKeepsWhatIsNoEscape(t *testing.T) {
	f, err := Parse("a=1&a=2&b=%zz;x&&c")
	if err != nil || f.Get("a") != "1" || len(f["a"]) != 2 || f.Get("b") != "%zz;x" || f.Get("c") != "" || f.Get("d") != "" {
		t.Errorf("Parse() = %q, %v", f, err)
	}
	if _, err := Parse("%zz=1"); err == nil {
		t.Error("a malformed name was accepted")
	}
}

// FuzzParseLogin: no body makes it panic, and no error quotes the body.
func FuzzParseLogin(f *testing.F) {
	for _, body := range []string{
		"name=n&password=p%2B", `{"UserName":"n","Password":1,"appid":null}`, "--x\r\nContent-Disposition: form-data; name=name\r\n\r\nn\r\n--x--",
		"[]", "<a/>", "\xef\xbb\xbfname=n", "?name=n", `{"name":`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		login, err := ParseLogin([]byte(body))
		switch {
		case err == nil:
			for _, c := range login.Credentials() {
				if c.Name == "" || c.Password == "" {
					t.Errorf("%q: credentials without a name or a password", body)
				}
			}
		case !errors.Is(err, ErrMediaType) && len(body) > 30 && strings.Contains(err.Error(), body):
			t.Errorf("the error quotes the body: %v", err)
		}
	})
}
