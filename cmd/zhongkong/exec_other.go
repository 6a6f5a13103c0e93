//go:build !unix

package main

import "os"

// replaceProcess is program.replace. A process cannot be replaced here.
var replaceProcess func(path string, command, environment []string) error

func passedSignals() []os.Signal { return []os.Signal{os.Interrupt} }
