//go:build !purego

package wire

import "golang.org/x/sys/cpu"

// vectors: the processor has AVX2.
var vectors = cpu.X86.HasAVX2

// lines passes over plain ASCII and the escapes \r and \n, with which the lines
// of a session description end, and says how many bytes that were: after them
// comes something else, or less than it looks at once. Where these lines end no
// processor can foresee, and a branch for each costs as much as the line.
func lines(b []byte) int {
	if !vectors {
		return 0
	}
	return linesAVX2(b)
}

//go:noescape
func linesAVX2(b []byte) int
