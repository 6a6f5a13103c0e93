//go:build !race

package coordinator_test

// simDays is how long the simulation of grants lasts.
const simDays = 30
