package wsserver

import (
	"testing"
	"unsafe"
)

// A connection that is silent is little more than this, and Go has no size of
// objects between 96 bytes and 112.
func TestConnectionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(loopConn{}); n > 96 {
		t.Errorf("%d bytes", n)
	}
}
