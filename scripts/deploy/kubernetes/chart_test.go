package kubernetes

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// root is that of the repository.
const root = "../../../"

const chartDir = root + "scripts/deploy/chart"

var loadedChart = sync.OnceValues(func() (*chart.Chart, error) { return loader.Load(chartDir) })

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loadedChart()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// release is an installation of the chart.
type release struct {
	name    string // default zhongkong
	values  string // YAML
	service string // what manages it; default Helm
}

// render returns what `helm template` prints, and NOTES.txt, or the error that helm
// would show.
func (r release) render(t *testing.T) (manifests, notes string, err error) {
	t.Helper()
	c := loadChart(t)
	given, err := chartutil.ReadValues([]byte(r.values))
	if err != nil {
		t.Fatal(err)
	}
	options := chartutil.ReleaseOptions{Name: "zhongkong", Namespace: "credentials", Revision: 1, IsInstall: true}
	if r.name != "" {
		options.Name = r.name
	}
	if err := chartutil.ValidateReleaseName(options.Name); err != nil {
		return "", "", err
	}
	values, err := chartutil.ToRenderValues(c, given, options, nil)
	if err != nil {
		return "", "", err
	}
	if r.service != "" {
		values["Release"].(map[string]any)["Service"] = r.service //nolint:errcheck,forcetypeassert // helm makes it
	}
	files, err := engine.Render(c, values)
	if err != nil {
		return "", "", err
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch text := strings.TrimSpace(files[name]); {
		case filepath.Base(name) == "NOTES.txt":
			notes = files[name]
		case text != "" && !strings.HasPrefix(filepath.Base(name), "_"):
			all.WriteString("---\n" + strings.TrimPrefix(text, "---\n") + "\n")
		}
	}
	return all.String(), notes, nil
}

func (r release) must(t *testing.T) (manifests, notes string) {
	t.Helper()
	manifests, notes, err := r.render(t)
	if err != nil {
		t.Fatal(err)
	}
	return manifests, notes
}

// object is a Kubernetes object, or a part of one.
type object map[string]any

// at returns the value at a path of fields and indices. A missing one is nil.
func (o object) at(path ...any) any {
	var value any = map[string]any(o)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			fields, _ := value.(map[string]any)
			value = fields[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

func (o object) text(path ...any) string {
	s, _ := o.at(path...).(string)
	return s
}

// list returns the objects of a list.
func (o object) list(path ...any) []object {
	values, _ := o.at(path...).([]any)
	var list []object
	for _, v := range values {
		fields, _ := v.(map[string]any)
		list = append(list, fields)
	}
	return list
}

// objects returns the manifests by KIND/NAME.
func objects(t *testing.T, manifests string) map[string]object {
	t.Helper()
	all := map[string]object{}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(manifests)))
	for {
		var o map[string]any
		if err := decoder.Decode(&o); err != nil {
			if err.Error() == "EOF" {
				return all
			}
			t.Fatalf("%v\n%s", err, manifests)
		}
		name := object(o).text("kind") + "/" + object(o).text("metadata", "name")
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = o
	}
}

// readText returns a file of the repository.
func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
