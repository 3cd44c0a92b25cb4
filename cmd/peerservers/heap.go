package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// heapGrowth is by how many percent the heap may grow between two collections,
// where Go's default is 100. Serving a client's messages allocates nothing, so
// that collections are few either way, and what a node holds per connection is
// a few hundred bytes, which the default would make half as many again.
const heapGrowth = 15

// leanHeap sets it, unless the operator has set GOGC. Unless somebody can ask
// for a profile of the heap, none is kept: it is samples of every connection.
func leanHeap(profiled bool) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if !profiled {
		runtime.MemProfileRate = 0
	}
}
