package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// systemd takes the secrets of a service away when it stops. What a person looks at then,
// and what moves a fleet that was stopped, must work all the same.
func TestACommandThatNeedsOnlyTheStoreGoesOnWithoutASecret(t *testing.T) {
	b, issuer := grantBench(t)
	_, token := issuer.Consent("zhongkong", "")
	if r := b.feed(token, "grant", "import"); r.code != exitDone {
		t.Fatalf("grant import = %d:\n%s", r.code, r.stderr)
	}
	b.must("refresh")
	content, err := os.ReadFile(b.env["ZHONGKONG_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	_, keyFile, _ := strings.Cut(text, "seal_key_file: ")
	keyFile, _, _ = strings.Cut(keyFile, "\n")
	gone := filepath.Join(t.TempDir(), "gone")
	text = strings.Replace(text, "client_secret: the-secret-of-the-client", "client_secret_file: "+gone, 1)
	text = strings.Replace(text, "seal_key_file: "+keyFile, "seal_key_file: "+gone, 1)
	b = b.with("ZHONGKONG_CONFIG", b.file("stopped.yaml", text))

	keys := []string{"--seal-key-file", keyFile}
	var export string
	for _, command := range [][]string{{"status"}, {"history"}, {"grant", "status"}, {"grant", "export"}} {
		r := b.run(append(command, keys...)...)
		if r.code != exitDone || !strings.Contains(r.stderr, `account "crm": client_secret_file: cannot read `+gone) {
			t.Errorf("%v = %d, want %d and a warning that names the secret:\n%s%s", command, r.code, exitDone, r.stdout, r.stderr)
		}
		export = r.stdout
	}
	if r := b.with("ZHONGKONG_PREFIX", b.env["ZHONGKONG_PREFIX"]+"-new").feed(export, append([]string{"grant", "restore"}, keys...)...); r.code != exitDone {
		t.Errorf("grant restore = %d:\n%s", r.code, r.stderr)
	}
	for _, command := range [][]string{{"show"}, {"refresh"}, {"check"}, {"grant", "import"}, {"doctor"}} {
		b.fails(exitUsage, "cannot read "+gone, append(command, keys...)...)
	}
	b.rewrite(gone, "two words")
	b.fails(exitUsage, "more than one word", append([]string{"status"}, keys...)...)

	b = newBench(t)
	b.must("show")
	b = b.with("ZHONGKONG_SECRET", "", "ZHONGKONG_SECRET_FILE", filepath.Join(t.TempDir(), "gone"))
	if out := b.must("status"); !strings.Contains(out, appID) {
		t.Errorf("status:\n%s", out)
	}
	b.fails(exitUsage, "cannot read", "show")
}
