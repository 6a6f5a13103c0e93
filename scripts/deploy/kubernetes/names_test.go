package kubernetes

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// longest is a name of a release with as many characters as Helm allows.
var longest = strings.Repeat("a", 53)

// TestNamesFit: a label ends at 63 characters, and Kubernetes appends a hash of 10 to the
// name of a StatefulSet in a label of its pods.
func TestNamesFit(t *testing.T) {
	t.Parallel()
	operator := operatorSchemas(t)
	v := newValidator(t, kubernetesModules()[0], operator)
	long := strings.Repeat("n", 51) + "-x"
	for _, r := range []release{
		{name: longest},
		{name: longest, values: "grants: {enabled: true}\nsealKeySecret: {name: seal}\ndashboard: {enabled: true}"},
		{name: "x", values: "nameOverride: " + long[:52-1]},
		{name: "zhongkong-" + longest[:43], values: "serviceMonitor: {enabled: true}\nmetrics: {open: true}"},
	} {
		manifests, _ := r.must(t)
		for _, problem := range invalid(v, manifests) {
			t.Error(problem)
		}
		for key, o := range objects(t, manifests) {
			kind, name, _ := strings.Cut(key, "/")
			longestName := 63
			if kind == "StatefulSet" {
				longestName = 52
			}
			if len(name) > longestName || strings.HasSuffix(name, "-") {
				t.Errorf("%s has %d characters", key, len(name))
			}
			labels, _ := o.at("metadata", "labels").(map[string]any)
			for label, value := range labels {
				if text, _ := value.(string); len(text) > 63 || strings.HasSuffix(text, "-") {
					t.Errorf("%s: label %s is %s", key, label, text)
				}
			}
		}
	}
}

// TestReleasesInOneNamespaceAreApart: no object of one is another's, and no selector of
// one matches a pod of another.
func TestReleasesInOneNamespaceAreApart(t *testing.T) {
	t.Parallel()
	values := "grants: {enabled: true}\nsealKeySecret: {name: seal}\ndashboard: {enabled: true}"
	one, _ := release{name: "refreshers", values: values}.must(t)
	two, _ := release{name: "readers", values: values}.must(t)
	first, second := objects(t, one), objects(t, two)
	for _, key := range slices.Sorted(maps.Keys(first)) {
		if second[key] != nil {
			t.Errorf("both have %s", key)
		}
	}
	of := func(all map[string]object, name string) object { return all["StatefulSet/"+name+"-zhongkong"] }
	pod, _ := of(second, "readers").at("spec", "template", "metadata", "labels").(map[string]any)
	for key, o := range first {
		selector, _ := o.at("spec", "selector").(map[string]any)
		for _, inner := range []string{"matchLabels", "podSelector"} {
			if deeper, ok := selector[inner].(map[string]any); ok {
				selector = deeper
			}
		}
		matches := len(selector) > 0
		for label, value := range selector {
			matches = matches && pod[label] == value
		}
		if matches {
			t.Errorf("%s of one release selects the pods of the other: %v", key, selector)
		}
	}
}
