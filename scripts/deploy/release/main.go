// Command release builds what is published: see scripts/release.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scripts/release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("scripts/release", flag.ContinueOnError)
	root := flags.String("root", ".", "the checkout")
	output := flags.String("output", "", "a directory that does not exist yet (default dist)")
	only := flags.String("only", "", "systems, comma separated, for example linux/amd64")
	snapshot := flags.Bool("snapshot", false, "build although there are changes that are not committed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	source, err := readSource(ctx, *root, *snapshot)
	if err != nil {
		return err
	}
	wanted, err := systems(*only)
	if err != nil {
		return err
	}
	dir := *output
	if dir == "" {
		dir = filepath.Join(*root, "dist")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("%w: remove it, or name another directory with --output", err)
	}
	work, err := os.MkdirTemp("", "zhongkong-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	host := system{runtime.GOOS, runtime.GOARCH}
	binary := func(sys system) string { return filepath.Join(work, sys.os+"-"+sys.arch, sys.binary()) }
	for _, sys := range append([]system{host}, wanted...) {
		if _, err := os.Stat(binary(sys)); err == nil {
			continue // it is the host's
		}
		if err := source.build(ctx, sys, binary(sys)); err != nil {
			return fmt.Errorf("%s: %w", sys, err)
		}
	}
	files, err := source.files(ctx, binary(host))
	if err != nil {
		return err
	}
	for _, sys := range wanted {
		if err := source.release(sys, dir, binary(sys), files); err != nil {
			return fmt.Errorf("%s: %w", sys, err)
		}
		fmt.Println(sys)
	}
	return writeChecksums(dir)
}

// release writes everything for one system. common are the files that all have.
func (s source) release(sys system, dir, binary string, common []file) error {
	name := filepath.Join(dir, fmt.Sprintf("zhongkong_%s_%s", strings.TrimPrefix(s.version, "v"), strings.ReplaceAll(sys.String(), "/", "_")))
	program, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	files := append([]file{{name: sys.binary(), path: "/usr/bin/zhongkong", mode: 0o755, data: program}}, common...)
	if err := errors.Join(writeArchive(name, sys, files, s.date), writeSBOM(name+".sbom.json", binary, s)); err != nil {
		return err
	}
	if sys.os != "linux" {
		return nil
	}
	return s.packages(name, sys, binary, files)
}
