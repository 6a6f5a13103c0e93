// Command audit checks what the released binary is made of: see scripts/audit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// maxSize is the budget of the stripped binary for linux/amd64, in bytes: what a release
// may weigh. Lower it when the binary gets smaller; raising it is a decision.
const maxSize = 30 << 20

func main() {
	root := flag.String("root", "../../..", "the checkout")
	flag.Parse()
	ctx := context.Background()
	err := errors.Join(checkVulnerabilities(ctx, *root), checkLicences(ctx, *root), checkSize(ctx, *root))
	if err != nil {
		fmt.Fprintln(os.Stderr, "scripts/audit:", err)
		os.Exit(1)
	}
}

// checkSize builds the binary as a release does.
func checkSize(ctx context.Context, root string) error {
	dir, err := os.MkdirTemp("", "zhongkong-audit-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "zhongkong")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w", "-o", binary, "./cmd/zhongkong")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	fmt.Printf("size: %.1f MB of at most %.1f MB\n", float64(info.Size())/1e6, float64(maxSize)/1e6)
	if info.Size() > maxSize {
		return fmt.Errorf("the stripped binary has %d bytes, %d more than its budget: find out what came in (go tool nm -size -sort size), or raise maxSize with the reason",
			info.Size(), info.Size()-maxSize)
	}
	return nil
}
