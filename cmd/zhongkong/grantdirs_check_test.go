package main

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func TestCheckAndDoctorRefuseDirectoriesOfGrantsThatServeWouldRefuse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories have no modes")
	}
	for _, key := range []string{"SPOOL", "COPY"} {
		b := newBench(t)
		open, group := t.TempDir(), t.TempDir()
		for dir, mode := range map[string]os.FileMode{open: 0o755, group: 0o770} {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
		b.env["ZHONGKONG_SEAL_KEY_FILE"] = b.file("seal.keys", seal.NewLine(time.Now()))
		for bad, words := range map[string]string{open: "other users can read", b.file("file", ""): "not a directory"} {
			wrong := b.with("ZHONGKONG_GRANTS_"+key, bad)
			wrong.fails(exitUsage, words, "check")
			wrong.fails(exitUsage, words, "serve")
			if r := wrong.run("doctor"); r.code == exitDone || !strings.Contains(r.stdout, words) {
				t.Errorf("doctor passes %s:\n%s", bad, r.stdout)
			}
		}
		b.with("ZHONGKONG_GRANTS_"+key, group+"/new").must("check")
		b.with("ZHONGKONG_GRANTS_"+key, group).must("check")
		if _, err := os.Stat(group + "/new"); err == nil {
			t.Error("check made a directory")
		}
	}
}

func TestDoctorDoesNotChangeTheDirectoriesOfGrants(t *testing.T) {
	s := grantSession(t)
	for _, dir := range s.cfg.GrantDirs() {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o750); err != nil { //nolint:gosec // doctor must leave it
			t.Fatal(err)
		}
	}
	examine(t, s)
	for _, dir := range s.cfg.GrantDirs() {
		if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o750 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}
