package main

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func TestPasswdPrintsAHashThatLetsThePasswordIn(t *testing.T) {
	for _, stdin := range []string{"correct-horse_battery.~9\n", "correct-horse_battery.~9\r\n", "correct-horse_battery.~9"} {
		code, stdout, stderr := runWith(t, stdin, nil, "passwd")
		if code != exitDone || stderr != "" || strings.Count(stdout, "\n") != 1 {
			t.Fatalf("passwd = %d, %q, %q", code, stdout, stderr)
		}
		gate, err := auth.New([]auth.User{{Name: "ci", PasswordHashes: []string{strings.TrimSpace(stdout)}, Accounts: []string{"*"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gate.Authenticate(t.Context(), auth.Addr("192.0.2.1:1"), auth.Credentials{Name: "ci", Password: "correct-horse_battery.~9"}); err != nil {
			t.Errorf("Authenticate() = %v", err)
		}
	}
}

func TestPasswdMakesAKeyAndReadsNone(t *testing.T) {
	var keys []string
	for range 2 {
		code, stdout, stderr := runWith(t, "hunter2hunter2\n", nil, "passwd", "--key")
		lines := strings.Split(stdout, "\n")
		if code != exitDone || len(lines) != 3 || lines[2] != "" || !strings.Contains(stderr, "not shown again") || strings.Contains(stdout+stderr, "hunter2") {
			t.Fatalf("passwd --key = %d, %q, %q", code, stdout, stderr)
		}
		gate, err := auth.New([]auth.User{{Name: "ci", PasswordHashes: lines[1:2], Accounts: []string{"*"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gate.Authenticate(t.Context(), auth.Addr("192.0.2.1:1"), auth.Credentials{Name: "ci", Password: lines[0]}); err != nil {
			t.Errorf("Authenticate() = %v", err)
		}
		keys = append(keys, lines[0])
	}
	if keys[0] == keys[1] || !unreserved().MatchString(keys[0]) {
		t.Errorf("passwd --key printed %q", keys)
	}
	if code, stdout, stderr := runWith(t, "", nil, "passwd", "--key", "hunter2hunter2"); code != exitUsage || stdout != "" {
		t.Errorf("passwd --key with an argument = %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := runWith(t, keys[0]+"\n", nil, "passwd"); code != exitUsage || stdout != "" || strings.Contains(stderr, keys[0]) {
		t.Errorf("passwd of a key = %d, %q, %q", code, stdout, stderr)
	}
}

func TestPasswdWarnsOfWhatSDKsDoNotEscape(t *testing.T) {
	for _, password := range []string{"Zm9v+YmFyYmF6Zm9v", "Zm9v/YmFyYmF6Zm9v", "abc&abcabcabc", "abc#abcabcabc", "abc%abcabcabc", "abc abc abc abc", "密码密码密码密码"} {
		code, stdout, stderr := runWith(t, password+"\n", nil, "passwd")
		if code != exitDone || stdout == "" || !strings.Contains(stderr, "letters, digits") || strings.Contains(stderr, password) {
			t.Errorf("%s: passwd = %d, %q", password, code, stderr)
		}
	}
	if _, help, _ := runWith(t, "", nil, "passwd", "--help"); !strings.Contains(help, "rand -hex") {
		t.Errorf("the help's own recipe needs escaping: %s", help)
	}
}

func TestPasswdTakesNoPasswordAsAnArgumentAndNoEmptyOne(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		words string
	}{
		"an argument": {"x\n", []string{"hunter2hunter2"}, "no password as an argument"},
		"nothing":     {"", nil, "no password on stdin"},
		"a blank":     {"\n", nil, "no password on stdin"},
		"UTF-16":      {"\xff\xfeh\x00u\x00n\x00t\x00e\x00r\x00\n\x00", nil, "stdin is in UTF-16"},
		"too long":    {strings.Repeat("x", 5000), nil, "at most"},
	} {
		code, stdout, stderr := runWith(t, c.stdin, nil, append([]string{"passwd"}, c.args...)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.words) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: passwd = %d, %q, %q", name, code, stdout, stderr)
		}
	}
}

func TestPasswdWarnsOfAShortPasswordWithoutRepeatingIt(t *testing.T) {
	code, stdout, stderr := runWith(t, "hunter2\n", nil, "passwd")
	if code != exitDone || !strings.Contains(stderr, "warning") || strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("passwd = %d, %q, %q", code, stdout, stderr)
	}
}

func TestKeygenPrintsALineOfAKeyFile(t *testing.T) {
	code, stdout, stderr := runWith(t, "", nil, "keygen")
	if code != exitDone || stderr != "" {
		t.Fatalf("keygen = %d, %q", code, stderr)
	}
	if _, err := seal.Parse("stdout", []byte(stdout)); err != nil {
		t.Error(err)
	}
	if code, _, _ := runWith(t, "", nil, "keygen", "x"); code != exitUsage {
		t.Errorf("keygen x = %d, want %d", code, exitUsage)
	}
}
