package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are those that describe the values.
var pages = []string{"cmd/zhongkong/docs/kubernetes.md", "cmd/zhongkong/docs/kubernetes.zh-CN.md"}

// leaves returns the values below a path that are no groups of further ones.
func leaves(path string, value any, into map[string]string) {
	group, isGroup := value.(map[string]any)
	if !isGroup || len(group) == 0 {
		text, _ := json.Marshal(value)
		into[path] = string(text)
		return
	}
	for key, v := range group {
		leaves(strings.TrimPrefix(path+"."+key, "."), v, into)
	}
}

var valueRow = regexp.MustCompile("(?m)^\\| `([\\w.]+)` \\| (.+?) \\| ([^|]+) \\|$")

// TestEachValueIsDescribed compares the tables of the pages with values.yaml: a row is of
// one value, with its default, or of a group.
func TestEachValueIsDescribed(t *testing.T) {
	t.Parallel()
	values := map[string]string{}
	leaves("", loadChart(t).Values, values)
	for _, page := range pages {
		found := map[string]bool{}
		for _, row := range valueRow.FindAllStringSubmatch(readText(t, page), -1) {
			name, given := row[1], strings.Trim(row[2], "`")
			value, isLeaf := values[name]
			isEmpty := value == `""` || value == "[]" || value == "{}"
			if isLeaf && given != strings.Trim(value, `"`) && (given != "–" || !isEmpty) {
				t.Errorf("%s: %s is %s, not %s", page, name, value, given)
			}
			covers := isLeaf
			found[name] = true
			for leaf := range values {
				if strings.HasPrefix(leaf, name+".") {
					covers, found[leaf] = true, true
				}
			}
			if !covers {
				t.Errorf("%s: there is no value %s", page, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if !found[name] {
				t.Errorf("%s does not describe %s (%s)", page, name, values[name])
			}
		}
	}
}

// TestTheSchemaKnowsNoOtherValues: what it allows is in values.yaml, with a default.
func TestTheSchemaKnowsNoOtherValues(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(loadChart(t).Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, schema object, value any)
	compare = func(path string, s object, value any) {
		if ref := s.text("$ref"); ref != "" {
			name := strings.TrimPrefix(ref, "#/$defs/")
			s, _ = object(schema).at("$defs", name).(map[string]any)
		}
		properties, _ := s.at("properties").(map[string]any)
		if s.at("additionalProperties") != false {
			return // of Kubernetes, or of the program
		}
		group, _ := value.(map[string]any)
		for name, property := range properties {
			v, has := group[name]
			if deeper := path + "." + name; deeper != ".global" && deeper != ".resources.claims" && !has {
				t.Errorf("values.yaml lacks %s", deeper)
			} else if fields, ok := property.(map[string]any); ok {
				compare(deeper, fields, v)
			}
		}
	}
	compare("", schema, loadChart(t).Values)
}

// blocks returns the blocks of a page that are written in a language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	var all []string
	for _, block := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(readText(t, page), -1) {
		all = append(all, block[1])
	}
	return all
}

// TestTheExamplesOfThePageInstall: each block of values renders, is valid, and has a
// configuration that the program accepts.
func TestTheExamplesOfThePageInstall(t *testing.T) {
	t.Parallel()
	v := newValidator(t, kubernetesModules()[1], operatorSchemas(t))
	for _, page := range pages {
		examples := 0
		for _, block := range blocks(t, page, "yaml") {
			if strings.HasPrefix(block, "apiVersion:") {
				for _, problem := range invalid(v, block) {
					t.Errorf("%s: %s", page, problem)
				}
			}
			if !strings.HasPrefix(block, "# values") {
				continue
			}
			examples++
			manifests, notes := release{values: block}.must(t)
			for _, problem := range invalid(v, manifests) {
				t.Errorf("%s: %s", page, problem)
			}
			if !strings.Contains(notes, "rollout status") {
				t.Errorf("the notes have no next command: %s", notes)
			}
			c := prepare(t, manifests)
			if out, err := c.command(t.Context(), t, "check").CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, out, block)
			}
		}
		if examples < 4 {
			t.Errorf("%s has %d examples of values", page, examples)
		}
	}
	if fmt.Sprint(blocks(t, pages[0], "yaml")) != fmt.Sprint(blocks(t, pages[1], "yaml")) {
		t.Error("the examples of the two pages differ")
	}
}
