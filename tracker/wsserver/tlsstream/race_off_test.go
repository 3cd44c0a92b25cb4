//go:build !race

package tlsstream

// raceEnabled: the race detector makes sync.Pool drop things on purpose, so
// that allocations cannot be counted under it.
const raceEnabled = false
