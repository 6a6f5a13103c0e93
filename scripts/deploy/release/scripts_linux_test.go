package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The setup writes only the hash of the callers' key. So it shows the key whatever becomes
// of the service then: a second run would refuse, and nothing else knows the key.
func TestTheSetupShowsTheKeyWhoseHashItWrites(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		systemctl string // "": there is no systemd
		code      int
		says      string
	}{
		"no systemd":                 {"", 0, "no systemd"},
		"the service does not start": {"#!/bin/sh\n[ $1 != restart ]\n", 1, "does not start"},
		"the unit cannot be enabled": {"#!/bin/sh\nfalse\n", 1, "cannot be enabled"},
		"the service runs":           {"#!/bin/sh\n", 0, "The service runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, "zhongkong-setup", c.systemctl)
			said, code := s.run(appID + "\n" + secret) // a program may leave out the last newline
			configuration := s.configuration()
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("zhongkong-setup ends with %d, want %d and %q:\n%s", code, c.code, c.says, said)
			}
			if !strings.Contains(configuration, "password: the-hash") || !strings.Contains(configuration, "- name: "+appID+"\n") {
				t.Fatalf("the configuration is\n%s", configuration)
			}
			if !strings.Contains(said, "curl -u app:the-key http://127.0.0.1:8080/v1/tokens/"+appID+"\n") {
				t.Errorf("nothing shows the key whose hash is written:\n%s", said)
			}
			if said, code := s.run(appID + "\n" + secret + "\n"); code != 1 || !strings.Contains(said, "configured already") {
				t.Errorf("a second run ends with %d:\n%s", code, said)
			}
		})
	}
}

// A command without the configuration asks the Redis of this machine.
func TestTheSetupNamesACommandThatAsksTheRedisOfTheService(t *testing.T) {
	t.Parallel()
	for redis, command := range map[string]string{
		"redis://127.0.0.1:6379": "programs of this machine: zhongkong show\n",
		"redis://10.0.0.5:6379":  "programs of this machine: sudo -u zhongkong zhongkong --config ",
	} {
		s := newScript(t, "zhongkong-setup", "#!/bin/sh\n")
		s.write("zhongkong.yaml", strings.Replace(s.configuration(), "redis://127.0.0.1:6379", redis, 1), 0o600)
		if said, code := s.run(appID + "\n" + secret + "\n"); code != 0 || !strings.Contains(said, command) {
			t.Errorf("with %s zhongkong-setup ends with %d and says\n%s", redis, code, said)
		}
	}
}

// What the setup cannot write into a configuration, it does not show either.
func TestTheSetupChangesOnlyTheConfigurationOfThePackage(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string][2]string{
		"another account":          {"wx0000000000000000 ", "wx1234567890123456 "},
		"a key that is there":      {`password: ""`, "password: $zkkey-sha256$mine"},
		"a caller of another form": {`    password: ""`, `      password: ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, "zhongkong-setup", "#!/bin/sh\n")
			edited := strings.Replace(s.configuration(), replace[0], replace[1], 1)
			s.write("zhongkong.yaml", edited, 0o600)
			said, code := s.run(appID + "\n" + secret + "\n")
			if code != 1 || !strings.Contains(said, "configured already") || strings.Contains(said, "the-key") || s.configuration() != edited {
				t.Errorf("zhongkong-setup ends with %d and says\n%s\nThe configuration is\n%s", code, said, s.configuration())
			}
		})
	}
	t.Run("without the comment beside the example", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, "zhongkong-setup", "#!/bin/sh\n")
		before, comment, _ := strings.Cut(s.configuration(), "wx0000000000000000 ")
		_, after, _ := strings.Cut(comment, "\n")
		s.write("zhongkong.yaml", before+"wx0000000000000000\n"+after, 0o600)
		if said, code := s.run(appID + "\n" + secret + "\n"); code != 0 || !strings.Contains(s.configuration(), "- name: "+appID+"\n") {
			t.Errorf("zhongkong-setup ends with %d and says\n%s\nThe configuration is\n%s", code, said, s.configuration())
		}
	})
	t.Run("where no key can be made", func(t *testing.T) {
		t.Parallel()
		s := newScript(t, "zhongkong-setup", "#!/bin/sh\n")
		s.write("bin/zhongkong", "#!/bin/sh\necho 'no random numbers' >&2\nexit 1\n", 0o700)
		before := s.configuration()
		said, code := s.run(appID + "\n" + secret + "\n")
		if _, err := os.Stat(filepath.Join(s.dir, "secrets/appsecret")); code != 1 || !strings.Contains(said, "zhongkong-setup: ") || s.configuration() != before || err == nil {
			t.Errorf("zhongkong-setup ends with %d and says %q, want it to say why and to write nothing", code, said)
		}
	})
}

// dpkg brings back no configuration that an administrator has deleted, and an upgrade that
// fails leaves the package half installed.
func TestAnUpgradeNeedsNoConfiguration(t *testing.T) {
	t.Parallel()
	s := newScript(t, "postinst", "#!/bin/sh\necho \"systemctl $*\"\n")
	s.write("bin/systemd-sysusers", "#!/bin/sh\n", 0o700)
	s.write("bin/chown", "#!/bin/sh\nshift\nexec ls \"$@\" >/dev/null\n", 0o700) // fails without the file, as chown does
	if said, code := s.run("", "configure", "1.2.2"); code != 0 || !strings.Contains(said, "systemctl try-restart zhongkong.service") {
		t.Errorf("with its configuration: %d\n%s", code, said)
	}
	if mode, err := os.Stat(filepath.Join(s.dir, "zhongkong.yaml")); err != nil || mode.Mode().Perm() != 0o640 {
		t.Errorf("the configuration: %v, %v", mode, err)
	}
	if err := os.Remove(filepath.Join(s.dir, "zhongkong.yaml")); err != nil {
		t.Fatal(err)
	}
	if said, code := s.run("", "configure", "1.2.2"); code != 0 || !strings.Contains(said, "systemctl try-restart zhongkong.service") {
		t.Errorf("without its configuration: %d\n%s", code, said)
	}
}

// script is one of the package below a directory, as if root ran it.
type script struct {
	t    *testing.T
	dir  string // in place of /etc/zhongkong
	text string
}

// newScript makes a systemctl too, unless it is "": then there is no systemd.
func newScript(t *testing.T, name, systemctl string) script {
	t.Helper()
	s := script{t: t, dir: t.TempDir()}
	text, err := os.ReadFile("../package/" + name)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../package/zhongkong.yaml")
	if err != nil {
		t.Fatal(err)
	}
	booted := filepath.Join(s.dir, "booted")
	s.text = strings.NewReplacer("directory=/etc/zhongkong\n", "directory="+s.dir+"\n", "/run/systemd/system", booted).Replace(string(text))
	s.write("zhongkong.yaml", string(example), 0o600)
	s.write("bin/id", "#!/bin/sh\necho 0\n", 0o700)
	s.write("bin/zhongkong", "#!/bin/sh\necho the-key\necho the-hash\n", 0o700)
	if systemctl != "" {
		s.write("booted/is", "", 0o600)
		s.write("bin/systemctl", systemctl, 0o700)
	}
	return s
}

func (s script) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s script) configuration() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "zhongkong.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s script) run(input string, args ...string) (said string, code int) {
	cmd := exec.CommandContext(s.t.Context(), "sh", append([]string{"-c", s.text, "sh"}, args...)...)
	cmd.Env = []string{"PATH=" + filepath.Join(s.dir, "bin") + ":/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader(input)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}
