//go:build !unix

package httpapi

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
