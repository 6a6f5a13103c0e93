package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

func TestTheFilesOfARefusedConfigurationAreKnown(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := config.Input{Env: func(string) string { return "" }, Flags: map[string]string{"config": filepath.Join(dir, "zk.yaml")}}
	valid := "- {name: app, password: '$h', accounts: '*'}\n"
	for _, step := range []struct {
		file, content string
		refused       bool
	}{
		{"zk.yaml", "users_file: " + dir + "/users.yaml\naccounts:\n- {appid: wx1, secret_file: " + dir + "/secret}\n", true},
		{"secret", "", true},
		{"secret", "s3cret", true},
		{"users.yaml", "- {name: app}\n", true},
		{"users.yaml", valid, false},
		{"zk.yaml", "accounts: [", true},
		{"zk.yaml", "accounts:\n- {appid: wx1, secret_file: " + dir + "/secret}\n", false},
		{"secret", "an0ther", false},
	} {
		_, before, _ := config.Load(in)
		if before.Changed() {
			t.Errorf("before %s is written: the files are said to have changed", step.file)
		}
		write(step.file, step.content)
		if !before.Changed() {
			t.Errorf("%s was written: the files are said to be as before", step.file)
		}
		if _, _, err := config.Load(in); (err != nil) != step.refused {
			t.Errorf("%s is %q: Load() = %v", step.file, step.content, err)
		}
	}
	_, last, _ := config.Load(in)
	if write("users.yaml", "[]"); last.Changed() {
		t.Error("a file that is not named any more is followed")
	}
}
