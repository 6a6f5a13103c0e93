package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestThePageOfContainersNamesWhatIsThere: no engine runs its commands here.
func TestThePageOfContainersNamesWhatIsThere(t *testing.T) {
	compose, dockerfile := readCompose(t), readText(t, "scripts/Dockerfile")
	var known []string
	for name, service := range compose.Services {
		known = append(known, name)
		known = append(known, service.Profiles...)
	}
	for _, page := range []string{"docs/containers.md", "docs/containers.zh-CN.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		commands := regexp.MustCompile(`(?m)^docker compose .*$`).FindAllString(string(text), -1)
		if len(commands) < 8 {
			t.Errorf("%s has only these commands: %q", page, commands)
		}
		for _, command := range commands {
			if strings.Contains(command, "--no-deps") && !strings.Contains(command, " --wait ") {
				t.Errorf("%s: %s: the next instance would be replaced before this one serves", page, command)
			}
			for word := range strings.FieldsSeq(command) {
				named := regexp.MustCompile(`^(?:real|redis|(?:sandbox|zhongkong)(?:-\w+)?)$`).MatchString(word)
				if named && !slices.Contains(known, word) {
					t.Errorf("%s: %s: there is no %s", page, command, word)
				}
			}
		}
		for _, argument := range regexp.MustCompile(`--build-arg (\w+)=`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(dockerfile, "\nARG "+argument[1]+"=") {
				t.Errorf("%s: the image is built with no %s", page, argument[1])
			}
		}
		if compiler := regexp.MustCompile(`ARG GO_IMAGE=(\S+)`).FindStringSubmatch(dockerfile); !strings.Contains(string(text), compiler[1]) {
			t.Errorf("%s names another compiler than %s", page, compiler[1])
		}
		theExampleOfGrantsFits(t, compose, string(text))
	}
}

// theExampleOfGrantsFits: it is put over docker-compose.yml, whose services it names, and
// the program accepts the settings.
func theExampleOfGrantsFits(t *testing.T, compose composed, text string) {
	t.Helper()
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 2 {
		t.Fatalf("the examples of grants: %q", blocks)
	}
	var over struct {
		Services map[string]struct {
			Volumes []string
			Secrets []struct{ Source, Target string }
		}
		Volumes map[string]any
		Secrets map[string]struct{ File string }
	}
	if err := yaml.Unmarshal([]byte(blocks[0][1]), &over); err != nil {
		t.Fatal(err)
	}
	var real []string
	for name, service := range compose.Services {
		if service.Image == "zhongkong" && service.Profiles[0] == "real" {
			real = append(real, name)
		}
	}
	if got := slices.Sorted(maps.Keys(over.Services)); !slices.Equal(got, slices.Sorted(slices.Values(real))) {
		t.Errorf("the spools are for %v, the instances are %v", got, real)
	}
	used := map[string]bool{}
	for name, service := range over.Services {
		volume, at, _ := strings.Cut(service.Volumes[0], ":")
		if _, declared := over.Volumes[volume]; !declared || used[volume] || !strings.Contains(blocks[1][1], "spool: "+at+"/") {
			t.Errorf("the spool of %s is %s", name, service.Volumes[0])
		}
		used[volume] = true
		if !strings.Contains(blocks[1][1], "/run/secrets/"+service.Secrets[0].Target) {
			t.Errorf("the seal keys of %s are not where the configuration says", name)
		}
	}
	b := newBench(t)
	dir := t.TempDir()
	settings := strings.NewReplacer("/run/secrets", dir, "/var/lib/zhongkong", filepath.Join(dir, "state")).Replace(blocks[1][1])
	if err := os.WriteFile(filepath.Join(dir, "seal.keys"), []byte(b.must("keygen")), 0o600); err != nil {
		t.Fatal(err)
	}
	b.with("ZHONGKONG_CONFIG", b.file("containers.yaml", settings)).must("check")
}
