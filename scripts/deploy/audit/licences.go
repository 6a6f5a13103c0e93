package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licences under which a dependency may be linked into a binary that is
// published under Apache-2.0.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unlicense"}

// checkLicences reads the licence of every module that is linked into the binary.
func checkLicences(ctx context.Context, root string) error {
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module", "./cmd/zhongkong")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	type module struct {
		Path, Version, Dir string
		Main               bool
	}
	modules := map[string]module{}
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ Module *module }
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if p.Module != nil && !p.Module.Main {
			modules[p.Module.Path] = *p.Module
		}
	}
	var errs []error
	for _, m := range modules {
		licences, err := licencesOf(m.Dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", m.Path, m.Version, err))
		}
		for _, l := range licences {
			if !slices.Contains(allowed, l) {
				errs = append(errs, fmt.Errorf("%s %s is under %s: none of %s", m.Path, m.Version, l, strings.Join(allowed, ", ")))
			}
		}
	}
	fmt.Printf("licences: %d modules\n", len(modules))
	return errors.Join(errs...)
}

// licencesOf recognises the licences in the files of a module's root.
func licencesOf(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		name := strings.ToUpper(f.Name())
		if f.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		for _, match := range licensecheck.Scan(text).Match {
			if !match.IsURL {
				found = append(found, match.ID)
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no licence was recognised: read it, and add what it is to the check")
	}
	return slices.Compact(found), nil
}
