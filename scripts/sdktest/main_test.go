package sdktest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var table = flag.Bool("table", false, "write RESULTS.md")

func TestMain(m *testing.M) {
	if os.Getenv(goDriver) != "" {
		drive(os.Stdin, os.Stdout)
		return
	}
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "zhongkong-sdktest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "zhongkong")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", binary, "./cmd/zhongkong").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	if err := installPackages(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// installPackages installs what package-lock.json names, unless it is installed.
func installPackages() error {
	want, err := os.Stat("package-lock.json")
	if err != nil {
		return err
	}
	done, err := os.Stat("node_modules/.package-lock.json")
	switch {
	case err == nil && !done.ModTime().Before(want.ModTime()):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	out, err := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts").CombinedOutput()
	if err != nil {
		return fmt.Errorf("npm ci: %w; scripts/install installs Node.js and npm\n%s", err, out)
	}
	return nil
}
