//go:build race

package sim_test

// raceEnabled: everything takes fifteen times as long.
const raceEnabled = true
