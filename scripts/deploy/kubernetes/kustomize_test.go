package kubernetes

import (
	"flag"
	"os"
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
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), kustomizeDir+"/example")
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	manifests := string(text)
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
