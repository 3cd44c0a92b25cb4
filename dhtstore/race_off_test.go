//go:build !race

package dhtstore

const raceEnabled = false
