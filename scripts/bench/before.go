package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// commitBefore is what the present version is compared with in the table of scale.
const commitBefore = "f860f56fa1d322f7f91f71796b9f4e90284465be"

// The names of the versions, with which the names of contenders begin.
const (
	theBefore = "before"
	theNow    = "now"
)

// version is one version of the product, as it is released.
type version struct {
	name      string
	zhongkong string // the program
	fleet     string // the program in the directory fleet, with this version's packages
}

// compared builds both versions, once. With --quick it does without the one before in a
// clone that does not have its commit.
func (e *env) compared() ([]version, error) {
	if e.versions != nil {
		return e.versions, nil
	}
	tree := filepath.Join(e.dir, theBefore)
	err := extract(commitBefore, tree)
	if err != nil {
		err = fmt.Errorf("this clone has no commit %.7s, the version before: get it by `git fetch origin %s`, "+
			"or by `git fetch --unshallow` if the server refuses that: %w", commitBefore, commitBefore, err)
		if !e.quick {
			return nil, err
		}
		fmt.Fprintln(os.Stderr, "bench: the version of today only:", err)
	} else {
		v := version{theBefore, filepath.Join(e.dir, "zhongkong-before"), filepath.Join(e.dir, "fleet-before")}
		if err := errors.Join(
			e.build(tree, v.zhongkong),
			runProgram(nil, "go", "-C", filepath.Join(tree, "cmd", "fleet"), "build", "-tags", "before", "-o", v.fleet, "."),
		); err != nil {
			return nil, err
		}
		e.versions = append(e.versions, v)
	}
	v := version{theNow, e.zhongkong, filepath.Join(e.dir, "fleet-now")}
	e.versions = append(e.versions, v)
	return e.versions, runProgram(nil, "go", "build", "-o", v.fleet, "./fleet")
}

// inTurn returns both versions, the one that begins changing from round to round.
func (e *env) inTurn(r *record) ([]version, error) {
	all, err := e.compared()
	if err != nil || len(all) < 2 || r.round%2 == 0 {
		return all, err
	}
	return []version{all[1], all[0]}, nil
}

// eachInTurn measures both versions, the one that begins changing from round to round.
func (e *env) eachInTurn(r *record, measure func(v version) error) error {
	versions, err := e.inTurn(r)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if err := measure(v); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return nil
}

// extract writes the tree of a commit, and the program fleet into it.
func extract(commit, tree string) error {
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	tar := tree + ".tar"
	if err := runProgram(nil, "git", "-C", "../..", "archive", "--output", tar, commit); err != nil {
		return err
	}
	if err := runProgram(nil, "tar", "-xf", tar, "-C", tree); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(tree, "cmd", "fleet"), os.DirFS("fleet"))
}

// release are the flags with which run builds the program, and a release is built.
// --quick does without: the packages are compiled for the tests already.
var release = []string{"-trimpath", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w"}

// build builds the program of a tree as run builds that of this one.
func (e *env) build(root, program string) error {
	args, variables := []string{"-C", root, "build"}, os.Environ()
	if !e.quick {
		args, variables = append(args, release...), append(variables, "CGO_ENABLED=0")
	}
	return runProgram(variables, "go", append(args, "-o", program, "./cmd/zhongkong")...)
}

// runProgram runs a program to its end, with the variables of this process unless there
// are others. Its output is part of the error.
func runProgram(variables []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = variables
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}
