package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// valuesFiles are the installations that are tested: each file of testdata.
func valuesFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("values files: %v, %v", paths, err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".yaml")] = string(text)
	}
	return all
}

// TestWhatIsRenderedIsValid also shows that kubeconform would notice: a field with a typo
// and a value of another type are found in each kind of schema.
func TestWhatIsRenderedIsValid(t *testing.T) {
	t.Parallel()
	operator := operatorSchemas(t)
	for _, module := range kubernetesModules() {
		v := newValidator(t, module, operator)
		for name, values := range valuesFiles(t) {
			manifests, _ := release{values: values}.must(t)
			for _, problem := range invalid(v, manifests) {
				t.Errorf("%s, %s: %s", module, name, problem)
			}
		}
		manifests, _ := release{values: valuesFiles(t)["everything"]}.must(t)
		for good, bad := range map[string]string{
			"readOnlyRootFilesystem: true": "readOnlyRootFileSystem: true",
			"maxUnavailable: 1":            "maxUnavailable: [1]",
			"policyTypes:":                 "policytypes:",
			"interval: 30s":                "intervall: 30s",
			"expr: ":                       "expression: ",
			"replicas: 2":                  "replicas: two",
		} {
			broken := strings.ReplaceAll(manifests, good, bad)
			if broken == manifests || len(invalid(v, broken)) == 0 {
				t.Errorf("%s: nothing is wrong with %q", module, bad)
			}
		}
	}
}

// TestTheMonitoringIsThatOfTheRepository: the chart has links to its files, no copies.
func TestTheMonitoringIsThatOfTheRepository(t *testing.T) {
	t.Parallel()
	manifests, _ := release{values: valuesFiles(t)["everything"]}.must(t)
	all := objects(t, manifests)
	var alerts any
	if err := yaml.Unmarshal([]byte(readText(t, "scripts/monitoring/alerts.yml")), &alerts); err != nil {
		t.Fatal(err)
	}
	rendered := all["PrometheusRule/tokens"].at("spec")
	if !reflect.DeepEqual(rendered, alerts) {
		t.Errorf("PrometheusRule: %v", rendered)
	}
	text, err := yaml.Marshal(rendered)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	dashboard := all["ConfigMap/tokens-dashboard"].text("data", "zhongkong.json")
	if strings.TrimSpace(dashboard) != strings.TrimSpace(readText(t, "scripts/monitoring/grafana-dashboard.json")) {
		t.Error("the dashboard is another one")
	}
}

// pods returns the pod of each installation by the name of its values file.
func pods(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	for name, values := range valuesFiles(t) {
		manifests, _ := release{values: values}.must(t)
		for key, o := range objects(t, manifests) {
			if strings.HasPrefix(key, "Deployment/") || strings.HasPrefix(key, "StatefulSet/") {
				all[name], _ = o.at("spec", "template").(map[string]any)
			}
		}
		if all[name] == nil {
			t.Fatalf("%s has no pods", name)
		}
	}
	return all
}

func TestPodsMayDoNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	for name, pod := range pods(t) {
		for path, want := range map[string]any{
			"spec.automountServiceAccountToken":                          false,
			"spec.enableServiceLinks":                                    false,
			"spec.securityContext.runAsNonRoot":                          true,
			"spec.securityContext.seccompProfile.type":                   "RuntimeDefault",
			"spec.securityContext.fsGroupChangePolicy":                   "OnRootMismatch",
			"spec.containers.0.securityContext.allowPrivilegeEscalation": false,
			"spec.containers.0.securityContext.readOnlyRootFilesystem":   true,
			"spec.containers.0.securityContext.privileged":               false,
			"spec.containers.0.securityContext.capabilities.drop.0":      "ALL",
			"spec.containers.0.livenessProbe.httpGet.path":               "/healthz",
			"spec.containers.0.readinessProbe.httpGet.path":              "/readyz",
			"spec.containers.0.volumeMounts.0.readOnly":                  true,
			"spec.topologySpreadConstraints.0.labelSelector.matchLabels": pod.matching(),
			"spec.topologySpreadConstraints.1.topologyKey":               "topology.kubernetes.io/zone",
		} {
			if got := pod.at(steps(path)...); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s is %v, not %v", name, path, got, want)
			}
		}
		if pod.at("spec", "containers", 0, "resources", "limits", "memory") == nil {
			t.Errorf("%s: the memory has no limit", name)
		}
		for _, env := range pod.list("spec", "containers", 0, "env") {
			if env.text("name") == "REDIS_PASSWORD" && env.text("valueFrom", "secretKeyRef", "name") == "" {
				t.Errorf("%s: the password of Redis is %v", name, env)
			}
		}
		for _, volume := range pod.list("spec", "volumes") {
			// Octal in YAML 1.1, which Kubernetes reads, as in 1.2.
			if volume.at("secret") != nil && volume.at("secret", "defaultMode") != 0o440 {
				t.Errorf("%s: %v can be read by others", name, volume)
			}
		}
	}
}

// matching returns the labels of a pod that the chart sets.
func (o object) matching() map[string]any {
	labels := map[string]any{}
	for _, name := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance"} {
		labels[name] = o.at("metadata", "labels", name)
	}
	return labels
}

// steps splits a path such as containers.0.name.
func steps(path string) []any {
	var all []any
	for step := range strings.SplitSeq(path, ".") {
		if index, err := strconv.Atoi(step); err == nil {
			all = append(all, index)
		} else {
			all = append(all, step)
		}
	}
	return all
}
