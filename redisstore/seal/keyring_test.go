package seal_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func TestKeyFileMayHaveCommentsAndBlankLines(t *testing.T) {
	unpadded := strings.TrimRight(base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32)), "=")
	ring := mustParse(t, "\xef\xbb\xbf# newest first\r\n\r\n  "+line("k2", newKey)+"  \r\n\n# old\n"+line("k1", oldKey)+"\nurl:"+unpadded+"\n")
	if got := ring.Kids(); got != "k2, k1, url" {
		t.Errorf("Kids() = %q", got)
	}
}

func TestKeyFileErrorsNameTheLineAndNeverShowAKey(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString(oldKey)
	cases := map[string]struct{ content, words string }{
		"empty":                  {"", "keys: no key in it"},
		"comments only":          {"# nothing\n\n", "keys: no key in it"},
		"no colon":               {"\n" + secret, "keys:2: no colon"},
		"no name":                {":" + secret, "keys:1: no key name"},
		"a name with a space":    {"my key:" + secret, "keys:1: the key's name may have"},
		"a name too long":        {strings.Repeat("k", 41) + ":" + secret, "41 characters"},
		"written the wrong way":  {secret + ":k1", "keys:1: the key's name"},
		"not base64":             {"k1:!" + secret, `keys:1: key "k1" is not base64`},
		"an AES-128 key":         {line("k1", oldKey[:16]), `keys:1: key "k1" has 16 bytes, must have 32`},
		"a key too long":         {line("k1", append(oldKey[:32:32], 1)), `key "k1" has 33 bytes`},
		"no key":                 {"k1:", `key "k1" has 0 bytes`},
		"all zeros":              {line("k1", make([]byte, 32)), `key "k1" is all zeros`},
		"a name twice":           {line("k1", oldKey) + "\n# c\n" + line("k1", newKey), `keys:3: key "k1" is on line 1 already`},
		"a key under two names":  {line("k1", oldKey) + "\n" + line("k2", oldKey), `keys:2: key "k2" is the same key as "k1" on line 1`},
		"good lines before it":   {line("k1", oldKey) + "\nk2", "keys:2: no colon"},
		"UTF-16":                 {utf16(line("k1", oldKey)), "keys is in UTF-16, which the > of Windows PowerShell writes: save it as UTF-8"},
		"an all-in-one mistake ": {"k1=" + secret, "keys:1: no colon"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := seal.Parse("keys", []byte(c.content))
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("Parse() = %v, want %q", err, c.words)
			}
			if strings.Contains(err.Error(), secret[:20]) {
				t.Errorf("Parse() = %v, shows the key", err)
			}
		})
	}
}

// utf16 returns ASCII text as the > of Windows PowerShell writes it.
func utf16(text string) string {
	return "\xff\xfe" + strings.Join(strings.Split(text, ""), "\x00") + "\x00"
}

func TestKeyringTellsItsKeysAndATokenWhichOneSealedIt(t *testing.T) {
	ring := mustParse(t, line("k2", newKey)+"\n"+line("k1", oldKey))
	if ring.First() != "k2" || !ring.Has("k1") || !ring.Has("k2") || ring.Has("k3") || ring.Has("") {
		t.Errorf("First() = %q, Has() = %v, %v, %v", ring.First(), ring.Has("k1"), ring.Has("k2"), ring.Has("k3"))
	}
	if kid := seal.Kid(mustSeal(t, ring, place)); kid != "k2" {
		t.Errorf("Kid() = %q, want k2", kid)
	}
	for _, not := range []string{"", plain, "eyJ.a.b.c.d"} {
		if kid := seal.Kid(not); kid != "" {
			t.Errorf("Kid(%q) = %q", not, kid)
		}
	}
}

func TestReloadKeepsTheOldKeysWhenTheFileIsBad(t *testing.T) {
	path := keyFile(t, line("k1", oldKey))
	ring := mustLoad(t, path)
	sealed := mustSeal(t, ring, place)

	rewrite(t, path, "k2:junk")
	if err := ring.Reload(); err == nil || !strings.Contains(err.Error(), path+":1: ") {
		t.Errorf("Reload() = %v, want an error with the line", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := ring.Reload(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Reload() of a missing file = %v", err)
	}
	if _, err := ring.Open(place, sealed); err != nil {
		t.Errorf("Open() after failed reloads = %v", err)
	}

	rewrite(t, path, line("k2", newKey))
	if err := ring.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Open(place, sealed); err == nil || !strings.Contains(err.Error(), `key "k1"`) {
		t.Errorf("Open() after the key was taken out = %v", err)
	}
}

func TestLoadRefusesWhatIsNoKeyFile(t *testing.T) {
	huge := keyFile(t, strings.Repeat("#\n", 1<<20))
	for path, words := range map[string]string{
		t.TempDir():                           "is a directory",
		filepath.Join(t.TempDir(), "missing"): "no such file",
		huge:                                  "no key file",
	} {
		if _, err := seal.Load(path, nil); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Load(%s) = %v, want %q", path, err, words)
		}
	}
}

func TestLoadWarnsOfAFileThatEverybodyMayRead(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		path := keyFile(t, line("k1", oldKey))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := seal.Load(path, slog.New(slog.NewTextHandler(&out, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "level=WARN"); got != want {
			t.Errorf("mode %v: log = %q, want a warning: %v", mode, out.String(), want)
		}
	}
}

func TestNewLineIsAKeyFile(t *testing.T) {
	now := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	first, second := seal.NewLine(now), seal.NewLine(now)
	if !strings.HasPrefix(first, "20261122-") || first == second {
		t.Errorf("NewLine() = %q, %q", first[:15], second[:15])
	}
	ring := mustParse(t, first+"\n"+second)
	if got, err := ring.Open(place, mustSeal(t, ring, place)); err != nil || got.Reveal() != plain {
		t.Errorf("Open() = %q, %v", got.Reveal(), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(line("k1", oldKey) + "\n# c\n" + line("k2", newKey)))
	f.Add([]byte("k1:AAAA\n:\n::\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		ring, err := seal.Parse("keys", content)
		if err == nil && ring.Kids() == "" {
			t.Error("a keyring without keys")
		}
	})
}

func keyFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	rewrite(t, path, content)
	return path
}

func rewrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t *testing.T, path string) *seal.Keyring {
	t.Helper()
	ring, err := seal.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
