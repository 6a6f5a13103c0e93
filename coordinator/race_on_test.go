//go:build race

package coordinator_test

// simDays is how long the simulation of grants lasts: the race detector makes it ten times
// as slow.
const simDays = 3
