package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"go.yaml.in/yaml/v3"
)

// The schemas are those in the sources of Kubernetes and of the Prometheus Operator. Go's
// module proxy has both, so that no other server is needed.
const operatorModule = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// kubernetesModules are the oldest Kubernetes that Chart.yaml allows, and a new one.
func kubernetesModules() []string {
	return []string{"k8s.io/kubernetes@v1.31.14", "k8s.io/kubernetes@v1.37.2"}
}

// moduleDir returns where Go's cache has a module.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	c.Dir = t.TempDir() // outside of a module: go.mod stays as it is
	c.Env = append(os.Environ(), "GOFLAGS=")
	out, err := c.Output()
	var m struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &m); jsonErr != nil || err != nil || m.Error != "" {
		t.Fatalf("go mod download %s: %v %s", module, err, m.Error)
	}
	return m.Dir
}

// strict makes a JSON schema of an OpenAPI one: fields that it does not have are errors,
// and a value may be an integer or a string where Kubernetes says so.
func strict(schema any) {
	switch s := schema.(type) {
	case []any:
		for _, v := range s {
			strict(v)
		}
	case map[string]any:
		_, isType := s["type"].(string)
		if isType && (s["format"] == "int-or-string" || s["x-kubernetes-int-or-string"] == true) {
			s["type"] = []any{"string", "integer"}
		}
		if s["x-kubernetes-int-or-string"] == true {
			delete(s, "anyOf")
		}
		if properties, has := s["properties"].(map[string]any); has && s["type"] == "object" {
			if _, open := s["additionalProperties"]; !open && s["x-kubernetes-preserve-unknown-fields"] != true {
				s["additionalProperties"] = false
			}
			for _, v := range properties {
				strict(v)
			}
		}
		for key, v := range s {
			if key != "properties" {
				strict(v)
			}
		}
	}
}

// kubernetesSchemas writes the schemas that kubeconform reads: KIND-GROUP-VERSION.json,
// each a reference into all.json.
func kubernetesSchemas(t *testing.T, module string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleDir(t, module), "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var swagger struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(text, &swagger); err != nil {
		t.Fatal(err)
	}
	// A quantity may be written as a number.
	swagger.Definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"] = []any{"string", "number"}
	dir := t.TempDir()
	for name, definition := range swagger.Definitions {
		strict(definition)
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			kind := object(k.(map[string]any)) //nolint:errcheck,forcetypeassert // of the OpenAPI document
			writeSchema(t, dir, kind.text("kind"), kind.text("group"), kind.text("version"),
				map[string]any{"$ref": "all.json#/definitions/" + name})
		}
	}
	writeJSON(t, filepath.Join(dir, "all.json"), map[string]any{"definitions": swagger.Definitions})
	return dir
}

// operatorSchemas writes the schemas of the custom resources.
func operatorSchemas(t *testing.T) string {
	t.Helper()
	source := filepath.Join(moduleDir(t, operatorModule), "example/prometheus-operator-crd")
	dir := t.TempDir()
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		text, err := os.ReadFile(filepath.Join(source, "monitoring.coreos.com_"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var definition map[string]any
		if err := yaml.Unmarshal(text, &definition); err != nil {
			t.Fatal(err)
		}
		crd := object(definition)
		for _, version := range crd.list("spec", "versions") {
			schema := version.at("schema", "openAPIV3Schema")
			// Of any object; the definition of a custom resource does not repeat them.
			strict(schema)
			writeSchema(t, dir, crd.text("spec", "names", "kind"), crd.text("spec", "group"), version.text("name"), schema)
		}
	}
	return dir
}

func writeSchema(t *testing.T, dir, kind, group, version string, schema any) {
	t.Helper()
	group, _, _ = strings.Cut(group, ".")
	name := strings.ToLower(kind) + "-" + strings.TrimPrefix(group+"-"+version, "-") + ".json"
	writeJSON(t, filepath.Join(dir, name), schema)
}

func writeJSON(t *testing.T, path string, value any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newValidator returns kubeconform with the schemas of one Kubernetes.
func newValidator(t *testing.T, module, operator string) validator.Validator {
	t.Helper()
	const file = "/{{.ResourceKind}}{{.KindSuffix}}.json"
	v, err := validator.New([]string{kubernetesSchemas(t, module) + file, operator + file}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// invalid returns what kubeconform finds.
func invalid(v validator.Validator, manifests string) []string {
	var found []string
	for _, result := range v.Validate("chart", io.NopCloser(strings.NewReader(manifests))) {
		if result.Status == validator.Valid || result.Status == validator.Empty {
			continue
		}
		signature, _ := result.Resource.Signature()
		found = append(found, fmt.Sprintf("%+v: %v", signature, result.Err))
	}
	return found
}
