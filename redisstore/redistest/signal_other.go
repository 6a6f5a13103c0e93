//go:build !unix

package redistest

import "os"

// Processes cannot be paused here, so tests that pause one fail.
var stop, resume os.Signal = os.Interrupt, os.Interrupt
