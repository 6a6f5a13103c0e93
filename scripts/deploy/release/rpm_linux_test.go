package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sassoftware/go-rpmutils"
)

// What a package manager of RPM sees: the same files, configuration that an upgrade keeps,
// and the scripts.
func TestTheRPMHasTheFilesAndScriptsOfTheDeb(t *testing.T) {
	f, err := os.Open(filepath.Join(built(t).dir, "zhongkong_1.2.3_linux_"+runtime.GOARCH+".rpm"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rpm, err := rpmutils.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	name, err := rpm.Header.GetNEVRA()
	if err != nil || name.Name != "zhongkong" || name.Version != "1.2.3" || name.Release != "1" {
		t.Errorf("the package is %+v, %v", name, err)
	}
	if conflicts, err := rpm.Header.GetStrings(rpmutils.CONFLICTNAME); err != nil || !slices.Equal(conflicts, []string{"systemd"}) {
		t.Errorf("it conflicts with %q, %v", conflicts, err)
	}
	if version, err := rpm.Header.GetStrings(rpmutils.CONFLICTVERSION); err != nil || !slices.Equal(version, []string{"250"}) {
		t.Errorf("it conflicts with systemd of %q, %v", version, err)
	}
	files, err := rpm.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int{}
	for _, f := range files {
		modes[f.Name()] = f.Mode() & 0o7777
		const config, noreplace = 1, 1 << 4
		if kept := f.Flags()&(config|noreplace) == config|noreplace; kept != (f.Name() == "/etc/zhongkong/zhongkong.yaml") {
			t.Errorf("an upgrade keeps changes of %s: %t", f.Name(), kept)
		}
		if f.UserName() != "root" || f.GroupName() != "root" {
			t.Errorf("%s is %s:%s", f.Name(), f.UserName(), f.GroupName())
		}
	}
	for name, mode := range map[string]int{
		"/usr/bin/zhongkong": 0o755, "/usr/sbin/zhongkong-setup": 0o755, "/etc/zhongkong/zhongkong.yaml": 0o644,
		"/usr/lib/systemd/system/zhongkong.service": 0o644, "/usr/lib/sysusers.d/zhongkong.conf": 0o644, "/usr/share/man/man1/zhongkong.1": 0o644,
	} {
		if got, there := modes[name]; !there || got != mode {
			t.Errorf("%s has mode %o, want %o", name, got, mode)
		}
	}
	for tag, script := range map[int]string{rpmutils.POSTIN: "postinst", rpmutils.PREUN: "prerm", rpmutils.POSTUN: "postrm"} {
		text, err := rpm.Header.GetString(tag)
		want, err2 := os.ReadFile("../package/" + script)
		if err != nil || err2 != nil || strings.TrimSpace(text) != strings.TrimSpace(string(want)) {
			t.Errorf("%s is not in the rpm: %v, %v", script, err, err2)
		}
	}
}
