package kubernetes

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var update = flag.Bool("update", false, "write scripts/deploy/kustomize/base and the tables of values")

const kustomizeDir = root + "scripts/deploy/kustomize"

const generated = "# Rendered from scripts/deploy/chart, which is what to change; then:\n" +
	"#   go test -C scripts/deploy/kubernetes -run TestTheBaseIsWhatTheChartRenders -update\n"

func TestTheBaseIsWhatTheChartRenders(t *testing.T) {
	t.Parallel()
	manifests, _ := release{service: "kustomize"}.must(t)
	const file = kustomizeDir + "/base/zhongkong.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(generated+manifests), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != generated+manifests {
		t.Errorf("%s is not what the chart renders: run the command at its top", file)
	}
}

// TestTheExampleOfAnOverlayWorks: what `kubectl apply -k` would send is valid, and the
// program accepts it.
func TestTheExampleOfAnOverlayWorks(t *testing.T) {
	t.Parallel()
	manifests := overlay(t, kustomizeDir+"/example")
	for _, problem := range invalid(newValidator(t, kubernetesModules()[1], operatorSchemas(t)), manifests) {
		t.Error(problem)
	}
	c := prepare(t, manifests)
	out, err := c.command(t.Context(), t, "check").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ok: accounts 1, of which this process refreshes 1") {
		t.Errorf("check: %v\n%s", err, out)
	}
	deployment := objects(t, manifests)["Deployment/zhongkong"]
	if image := deployment.text("spec", "template", "spec", "containers", 0, "image"); !strings.HasPrefix(image, "registry.example.com/zhongkong:") {
		t.Errorf("the image is %s", image)
	}
	if url := c.env["ZHONGKONG_REDIS"]; url != "redis://zhongkong:hunter2@redis.data.svc:6379" {
		t.Errorf("Redis is at %s", url)
	}
}

// TestAnOverlayRestartsPodsOnlyAsItsPagesSay: Kustomize replaces no pods for a change of the
// configuration's file, which has the accounts. So whoever changes another field of it is
// told to restart them.
func TestAnOverlayRestartsPodsOnlyAsItsPagesSay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kustomizeDir)); err != nil {
		t.Fatal(err)
	}
	template := func() any {
		return objects(t, overlay(t, dir+"/example"))["Deployment/zhongkong"].at("spec", "template")
	}
	replace := func(file, old, replacement string) {
		path := filepath.Join(dir, "example", file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q", file, old)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(text, old, replacement, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := template()
	replace("zhongkong.yaml", "accounts:\n", "accounts:\n  - name: wx0123456789abcdef\n")
	if !reflect.DeepEqual(template(), before) {
		t.Error("an account more restarts the pods")
	}
	replace("zhongkong.yaml", "log_format: json", "log_format: text")
	if reflect.DeepEqual(template(), before) { // as long as this is so:
		const restart = "kubectl -n credentials rollout restart deployment/zhongkong"
		for _, page := range []string{"kubernetes.md", "kubernetes.zh-CN.md"} {
			_, section, _ := strings.Cut(readText(t, "cmd/zhongkong/docs/"+page), "\n## Kustomize\n")
			section, _, _ = strings.Cut(section, "\n## ")
			if !strings.Contains(section, restart) {
				t.Errorf("%s does not say that another field needs: %s", page, restart)
			}
		}
		if !strings.Contains(readText(t, "scripts/deploy/kustomize/example/kustomization.yaml"), restart) {
			t.Errorf("the example does not say that another field needs: %s", restart)
		}
	}
	replace("kustomization.yaml", "env: # in", "env:\n                  - {name: ZHONGKONG_LOG_LEVEL, value: debug} # in")
	if reflect.DeepEqual(template(), before) {
		t.Error("a variable more does not restart the pods")
	}
}

// overlay returns what `kubectl apply -k` would send.
func overlay(t *testing.T, dir string) string {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
