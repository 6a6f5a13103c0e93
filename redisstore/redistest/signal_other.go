//go:build !unix

package redistest

import "os"

// Nothing pauses a process here: it runs on, and tests that need it paused fail.
var stop, resume os.Signal = os.Interrupt, os.Interrupt
