package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// sealKey returns a new line of a key file, and its name.
func (b *bench) sealKey() (line, kid string) {
	b.t.Helper()
	line = b.must("keygen")
	kid, _, _ = strings.Cut(line, ":")
	return line, kid
}

func TestTheLogSaysAtTheStartWhichKeysAreUsed(t *testing.T) {
	b := newBench(t)
	one, kid1 := b.sealKey()
	two, kid2 := b.sealKey()
	b = b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", one+two))
	for mode, words := range map[string]string{
		"":        "writes with " + kid1 + ", reads " + kid1 + ", " + kid2 + "\"",
		"require": "writes with " + kid1 + ", reads " + kid1 + ", " + kid2 + "\"",
		"prefer":  "writes with " + kid1 + ", reads " + kid1 + ", " + kid2 + " and plain tokens",
		"allow":   "writes plain tokens, reads " + kid1 + ", " + kid2 + " and plain tokens",
	} {
		d := b.with("ZHONGKONG_SEAL", mode).serve()
		d.says("seal keys read: " + words)
		d.stop()
	}
}

func TestSealIsRefusedWithoutKeys(t *testing.T) {
	newBench(t).fails(exitUsage, "give seal_key_file (--seal-key-file) too", "status", "--seal", "prefer")
}

// A key file cannot be given to a process that runs: what it reads, and what it
// writes, is settled when it starts.
func TestAKeyFileThatIsGivenLaterTakesEffectAtTheNextStart(t *testing.T) {
	b := newBench(t)
	line, _ := b.sealKey()
	path, keys := b.file("zk.yaml", "listen: 127.0.0.1:0\n"), b.file("seal.keys", line)
	d := b.with("ZHONGKONG_CONFIG", path).serve()
	b.rewrite(path, "listen: 127.0.0.1:0\nseal_key_file: "+keys+"\nseal: allow\n")
	b.hup()
	d.says(`these settings take effect at the next start" settings="[seal_key_file seal]"`)
}

func TestARefreshOverHTTPReplacesWhatCannotBeOpened(t *testing.T) {
	b := newBench(t)
	ours, _ := b.sealKey()
	theirs, _ := b.sealKey()
	b, stranger := b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("ours.keys", ours)), b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("theirs.keys", theirs))
	d := b.serve()
	d.ready()
	refresh := func(body string) any {
		t.Helper()
		status, got := d.send(ops, "POST", "/v1/tokens/"+appID+"/refresh", body)
		if token := got["access_token"]; status != http.StatusOK || token != b.lastIssued() || b.reader().must("show", appID) != b.lastIssued()+"\n" {
			t.Fatalf("refresh %s = %d %v, want the token issued last, and it in Redis", body, status, got["error"])
		}
		return got["access_token"]
	}
	// The first time the daemon does it by itself, and a report of the token that
	// was held before is answered with the new one.
	held := b.lastIssued()
	stranger.must("refresh")
	strangers := b.lastIssued()
	b.eventually("it to be replaced", func() bool {
		_, got := d.send(ops, "GET", "/v1/tokens/"+appID, "")
		return got["access_token"] == b.lastIssued() && b.lastIssued() != strangers
	})
	if token := refresh(fmt.Sprintf(`{"if_token":%q}`, held)); token == held || token == strangers {
		t.Error("a report is answered with a token that was replaced")
	}
	// Then not for a while: two processes that cannot open each other's would go
	// on for ever. A person may.
	stranger.must("refresh")
	strangers = b.lastIssued()
	b.eventually("it to be known", func() bool { status, _ := d.send(ops, "GET", "/v1/tokens/"+appID, ""); return status != http.StatusOK })
	if refresh("") == strangers {
		t.Error("refresh did not replace the token")
	}
}

func TestDoctorNamesTheKeyThatIsMissing(t *testing.T) {
	b := newBench(t)
	old, oldKid := b.sealKey()
	next, nextKid := b.sealKey()
	using := func(lines string, more ...string) *bench {
		return b.with(append([]string{"ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", lines)}, more...)...)
	}
	using(old).must("refresh")
	finds(t, b.findings(exitOther), "token", resultFail, `has the key "`+oldKid+`": --seal-key-file`)
	finds(t, using(next).findings(exitOther), "token", resultFail, `copy the line of the key "`+oldKid+`"`)
	_, other, _ := strings.Cut(next, ":")
	finds(t, using(oldKid+":"+other).findings(exitOther), "token", resultFail, `compare the line of the key "`+oldKid+`"`)
	finds(t, using(old).findings(exitDone), "sealing", resultOK, `sealed with "`+oldKid+`"`)
	finds(t, using(next+old).findings(exitDone), "sealing", resultWarn, `keep that key`)

	using(next).must("refresh")
	finds(t, using(next+old).findings(exitDone), "sealing", resultOK, `sealed with "`+nextKid+`"; this process writes with `+nextKid)
	finds(t, using(next, "ZHONGKONG_SEAL", "allow").findings(exitDone), "sealing", resultWarn, "keep the key")
	b.must("refresh")
	finds(t, using(next).findings(exitOther), "token", resultFail, "--seal prefer")
	finds(t, using(next, "ZHONGKONG_SEAL", "prefer").findings(exitDone), "sealing", resultWarn, "keep seal: prefer")
	finds(t, using(next, "ZHONGKONG_SEAL", "allow").findings(exitDone), "sealing", resultOK, "in plain text")
}

// lastIssued is the token that WeChat issued last.
func (b *bench) lastIssued() string {
	b.t.Helper()
	all := b.wechat.Issued()
	return all[len(all)-1].Token
}

func TestSyncAndWatchReadTheSealKeysAgainWhenTheirFileChanges(t *testing.T) {
	b := newBench(t)
	old, _ := b.sealKey()
	next, kid := b.sealKey()
	path, token := b.file("seal.keys", old), filepath.Join(t.TempDir(), "token")
	b = b.with("ZHONGKONG_SEAL_KEY_FILE", path)
	b.must("show")
	sync := b.reader().start(t.Context(), "", "sync", "--path", token)
	b.has(token, b.lastIssued())
	watch := b.reader().start(t.Context(), "", "watch")
	watch.says("watching " + appID)

	b.rewrite(path, next+old)
	for _, r := range []*running{sync, watch} {
		r.says("seal keys read again: writes with " + kid)
	}
	b.must("refresh") // seals with the new key
	b.has(token, b.lastIssued())
	b.eventually("the event", func() bool { return strings.Contains(watch.stdout.String(), "refreshed  "+appID) })

	b.rewrite(path, "k:short\n")
	for _, r := range []*running{sync, watch} {
		r.says("the new seal keys are refused, the old ones stay in use")
	}
}

func TestWatchSaysThatItCannotReadAnEvent(t *testing.T) {
	b := newBench(t)
	ours, _ := b.sealKey()
	theirs, _ := b.sealKey()
	using := func(line string) *bench { return b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", line)) }
	using(ours).must("show")
	watch := using(ours).reader().start(t.Context(), "", "watch")
	watch.says("watching " + appID)
	using(theirs).must("refresh")
	watch.says("an event of " + appID + " cannot be read; `zhongkong doctor` says why")
	if out := watch.stop(); strings.Contains(out.stderr, "Redis is back") {
		t.Errorf("it says that Redis was gone:\n%s", out.stderr)
	}
}
