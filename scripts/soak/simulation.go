package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// caughtLine is the simulation's log line about a detected mutant.
var caughtLine = regexp.MustCompile(`caught with seed (\d+): (.*)`)

// simulation runs the simulation's mutants and saves the results for RESULTS.md.
func (f flags) simulation() error {
	const test = "TestSimulationCatchesEveryBrokenRule"
	run := exec.Command("go", "test", "-count", "1", "-json", "-run", test, "./redisstore")
	run.Dir = f.module
	said, err := run.Output()
	if err != nil {
		return fmt.Errorf("go test: %w\n%s", err, said)
	}
	var all []caught
	for decoder := json.NewDecoder(strings.NewReader(string(said))); ; {
		var line struct{ Test, Output string }
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		found := caughtLine.FindStringSubmatch(line.Output)
		if found == nil {
			continue
		}
		c := caught{Name: strings.ReplaceAll(strings.TrimPrefix(line.Test, test+"/"), "_", " "), Caught: true, By: found[2]}
		c.Seed, _ = strconv.ParseUint(found[1], 10, 64) // digits
		all = append(all, c)
		fmt.Printf("%s: caught with seed %d: %s\n", c.Name, c.Seed, c.By)
	}
	return f.save("simulation", all)
}
