package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const forge = "../../../.github/"

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// The forms of issues as GitHub reads them.
func TestTheFormsOfIssuesAreComplete(t *testing.T) {
	paths, err := filepath.Glob(forge + "ISSUE_TEMPLATE/*.yml")
	if err != nil || len(paths) != 3 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		if filepath.Base(path) == "config.yml" {
			continue
		}
		var form struct {
			Name, Description string
			Body              []struct {
				Type, ID   string
				Attributes struct {
					Label   string
					Options []string
				}
			}
		}
		readYAML(t, path, &form)
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s lacks a name, a description or fields", path)
		}
		var ids []string
		for _, field := range form.Body {
			if field.ID == "" || slices.Contains(ids, field.ID) || field.Attributes.Label == "" ||
				!slices.Contains([]string{"textarea", "input", "dropdown", "checkboxes"}, field.Type) ||
				(field.Type == "dropdown") != (len(field.Attributes.Options) > 0) {
				t.Errorf("%s: the field %+v is incomplete", path, field)
			}
			ids = append(ids, field.ID)
		}
	}
}

var pinned = regexp.MustCompile(`@(v\d+(\.\d+)*|[0-9a-f]{40})$`)

func TestTheWorkflowRunsWhatThisRepositoryHas(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct {
			Needs string
			If    string
			Steps []struct{ Uses, Run string }
		}
	}
	readYAML(t, forge+"workflows/ci.yml", &workflow)
	var runs []string
	for name, job := range workflow.Jobs {
		for _, step := range job.Steps {
			if step.Uses != "" && !pinned.MatchString(step.Uses) {
				t.Errorf("%s: %s is not pinned", name, step.Uses)
			}
			for _, path := range regexp.MustCompile(`(?m)^(\s*)((\.ci|scripts)/[\w./]+)`).FindAllStringSubmatch(step.Run, -1) {
				if _, err := os.Stat("../../../" + path[2]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				runs = append(runs, name+": "+path[2])
			}
		}
	}
	for _, want := range []string{"check: .ci/run", "release: scripts/release"} {
		if !slices.Contains(runs, want) {
			t.Errorf("the workflow lacks %s", want)
		}
	}
	if release := workflow.Jobs["release"]; release.Needs != "check" || !strings.Contains(release.If, "refs/tags/v") {
		t.Errorf("a release needs the check and a tag: needs %q, if %q", release.Needs, release.If)
	}
}

// Each command and each path that contributors are told is there.
func TestContributorsAreToldWhatIsThere(t *testing.T) {
	text, err := os.ReadFile(forge + "CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile("(?:`|^|\\s)\\.?/?((?:scripts|\\.ci|cmd|coordinator|redisstore)[\\w/.]*)").FindAllStringSubmatch(string(text), -1)
	for _, path := range paths {
		if _, err := os.Stat("../../../" + strings.TrimSuffix(path[1], ".")); err != nil {
			t.Error(err)
		}
	}
	if len(paths) < 10 {
		t.Errorf("CONTRIBUTING.md names the paths %q only", paths)
	}
}
