//go:build !linux

package coordinator

import "time"

// suspended returns 0: the wall clock alone tells that this machine slept.
func suspended() time.Duration { return 0 }
