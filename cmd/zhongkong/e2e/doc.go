// Package e2e holds no code but end-to-end tests: what several real processes do on a
// real Redis, as an operator would see it.
//
//   - Most tests start zhongkong itself.
//   - sources_test.go is the table of every source and preset. sources_fleet_test.go puts
//     each to the test of a fleet, of processes that link the coordinator. A new preset
//     is in the table by itself; a new kind of source needs a row.
//   - upgrade_test.go replaces daemons of the version before by this one, and back. It
//     builds that version from the history of this repository.
package e2e
