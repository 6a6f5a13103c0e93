package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAVulnerableFunctionOfADependencyThatIsCalledFails(t *testing.T) {
	const called = `{"finding":{"osv":"GO-1","fixed_version":"v1.2.4","trace":[{"module":"example.com/m","version":"v1.2.3","function":"F"}]}}`
	const present = `{"finding":{"osv":"GO-2","fixed_version":"v1.2.4","trace":[{"module":"example.com/m","version":"v1.2.3"}]}}`
	const standard = `{"finding":{"osv":"GO-3","fixed_version":"v1.26.9","trace":[{"module":"stdlib","version":"v1.26.8","function":"F"}]}}`
	if err := judge(strings.NewReader(`{"config":{}}` + present + standard)); err != nil {
		t.Errorf("judge() = %v, want nil", err)
	}
	err := judge(strings.NewReader(standard + present + called + called))
	if err == nil || strings.Count(err.Error(), "example.com/m") != 1 || !strings.Contains(err.Error(), "v1.2.4") {
		t.Errorf("judge() = %v, want the module and its mended version, once", err)
	}
}

func TestALicenceIsRecognisedAndItsAbsenceAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := licencesOf(dir); err == nil {
		t.Error("a module without a licence passes")
	}
	text, err := os.ReadFile("../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "LICENSE.txt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := licencesOf(dir); err != nil || len(found) != 1 || found[0] != "Apache-2.0" {
		t.Errorf("licencesOf() = %v, %v", found, err)
	}
}
