//go:build !linux

package wsserver

// haveLoops: the system has what EngineLoops needs.
const haveLoops = false
