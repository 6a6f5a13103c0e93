package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/vuln/scan"
)

// checkVulnerabilities runs govulncheck on the binary's packages: it fails if a
// vulnerable function can be called. The database is taken from its module, which comes
// the way every other module comes, so that the check needs no other server.
func checkVulnerabilities(ctx context.Context, root string) error {
	database, err := os.MkdirTemp("", "zhongkong-vulndb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(database)
	version, err := writeDatabase(ctx, database)
	if err != nil {
		return fmt.Errorf("the vulnerability database: %w", err)
	}
	fmt.Println("vulnerabilities: database", version)
	check := scan.Command(ctx, "-C", root, "-db", "file://"+database, "-format", "json", "./cmd/zhongkong")
	var findings bytes.Buffer
	check.Stdout, check.Stderr = &findings, os.Stderr
	if err := errors.Join(check.Start(), check.Wait()); err != nil {
		return fmt.Errorf("govulncheck: %w", err)
	}
	return judge(&findings)
}

// finding is one call of vulnerable code, or its presence, as govulncheck prints it.
type finding struct {
	OSV   string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Function string `json:"function"`
	} `json:"trace"`
}

// judge fails for vulnerable functions of dependencies that are called: go.mod decides
// about them. About those of the standard library the Go that builds decides, so they
// are only said, with the Go that has them mended.
func judge(findings io.Reader) error {
	said := map[string]bool{}
	var errs []error
	for messages := json.NewDecoder(findings); ; {
		var m struct {
			Finding *finding `json:"finding"`
		}
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			return errors.Join(errs...)
		} else if err != nil {
			return fmt.Errorf("govulncheck's answer: %w", err)
		}
		f := m.Finding
		if f == nil || len(f.Trace) == 0 || f.Trace[0].Function == "" || said[f.OSV] {
			continue
		}
		said[f.OSV] = true
		if where := f.Trace[0]; where.Module == "stdlib" {
			fmt.Printf("vulnerabilities: https://pkg.go.dev/vuln/%s is in this Go: build releases with Go %s or later\n", f.OSV, strings.TrimPrefix(f.Fixed, "v"))
		} else {
			errs = append(errs, fmt.Errorf("https://pkg.go.dev/vuln/%s: %s %s is called: take %s", f.OSV, where.Module, where.Version, f.Fixed))
		}
	}
}

// entry is what the index needs of a report in OSV's format.
type entry struct {
	ID        string `json:"id"`
	Modified  string `json:"modified"`
	Withdrawn string `json:"withdrawn"`
	Affected  []struct {
		Module struct {
			Path string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

type (
	indexedModule struct {
		Path  string        `json:"path"`
		Vulns []indexedVuln `json:"vulns"`
	}
	indexedVuln struct {
		ID       string `json:"id"`
		Modified string `json:"modified"`
		Fixed    string `json:"fixed,omitempty"`
	}
)

// writeDatabase writes the newest reports into dir, in the layout that
// https://go.dev/doc/security/vuln/database describes.
func writeDatabase(ctx context.Context, dir string) (version string, err error) {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", "golang.org/x/vulndb@latest")
	out, err := download.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download golang.org/x/vulndb@latest: %w", err)
	}
	var module struct{ Version, Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", err
	}
	reports, err := filepath.Glob(filepath.Join(module.Dir, "data/osv/GO-*.json"))
	if err != nil {
		return "", err
	}
	if len(reports) == 0 {
		return "", fmt.Errorf("%s has no reports", module.Version)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "ID"), 0o755), os.Mkdir(filepath.Join(dir, "index"), 0o755)); err != nil {
		return "", err
	}
	modules := map[string]*indexedModule{}
	newest := ""
	for _, report := range reports {
		data, err := os.ReadFile(report)
		if err != nil {
			return "", err
		}
		var e entry
		if err := json.Unmarshal(data, &e); err != nil {
			return "", fmt.Errorf("%s: %w", report, err)
		}
		if e.Withdrawn != "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "ID", e.ID+".json"), data, 0o644); err != nil {
			return "", err
		}
		newest = max(newest, e.Modified)
		e.index(modules)
	}
	return module.Version, errors.Join(
		writeJSON(filepath.Join(dir, "index/db.json"), map[string]string{"modified": newest}),
		writeJSON(filepath.Join(dir, "index/modules.json"), values(modules)))
}

func (e entry) index(modules map[string]*indexedModule) {
	for _, a := range e.Affected {
		m := modules[a.Module.Path]
		if m == nil {
			m = &indexedModule{Path: a.Module.Path}
			modules[m.Path] = m
		}
		v := indexedVuln{ID: e.ID, Modified: e.Modified}
		for _, r := range a.Ranges {
			for _, event := range r.Events {
				if event.Fixed != "" {
					v.Fixed = strings.TrimPrefix(event.Fixed, "v")
				}
			}
		}
		if n := len(m.Vulns); n == 0 || m.Vulns[n-1].ID != v.ID {
			m.Vulns = append(m.Vulns, v)
		}
	}
}

func values(modules map[string]*indexedModule) []*indexedModule {
	all := make([]*indexedModule, 0, len(modules))
	for _, m := range modules {
		all = append(all, m)
	}
	return all
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
