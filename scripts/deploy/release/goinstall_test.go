//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// go install PACKAGE@VERSION, from a module proxy of files, as from the public one. Go
// itself writes the version into the binary.
func TestGoInstallStampsVersionCommitAndDate(t *testing.T) {
	const module, version = "github.com/zhongkong/zhongkong", "v0.0.0-20260102030405-0123456789ab"
	proxy, bin := t.TempDir(), t.TempDir()
	dir := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"list": version + "\n", version + ".info": fmt.Sprintf(`{"Version":%q}`, version), version + ".mod": string(mod),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git(t, "../../..", "archive", "--format=zip", "--prefix="+module+"@"+version+"/", "--output="+filepath.Join(dir, version+".zip"),
		"HEAD", "go.mod", "go.sum", "cmd", "coordinator", "redisstore")
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	// The dependencies come from what was downloaded before. -trimpath finds them compiled.
	install := exec.Command("go", "install", "-trimpath", module+"/cmd/zhongkong@"+version)
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOMODCACHE="+t.TempDir(), "GOSUMDB=off", "GOFLAGS=-modcacherw", "CGO_ENABLED=0",
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(strings.TrimSpace(string(cache)), "cache", "download")+",https://proxy.golang.org")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(bin, "zhongkong"), "version").CombinedOutput()
	want := fmt.Sprintf("zhongkong %s 2026-01-02T03:04:05Z %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if err != nil || string(out) != want {
		t.Errorf("zhongkong version: %v\n%swant\n%s", err, out, want)
	}
}
