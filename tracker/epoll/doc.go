// Package epoll is the system calls of an event loop, and nothing above them:
// a set of descriptors that says which are ready, a way to wake it from
// another goroutine, and reads and writes that never block. It exists on Linux
// only.
//
// Calls that cannot block are made without telling Go's scheduler: that would
// cost as much as a tenth of a small send. Only Poller.Wait with a timeout
// other than zero lets go of the processor.
package epoll
