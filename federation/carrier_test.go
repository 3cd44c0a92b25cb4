package federation

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// A link's buffer grows with what comes and shrinks when little does, and no
// byte is lost at either, wherever the frames are cut.
func TestLinkBufferAdapts(t *testing.T) {
	var data []byte
	for i := range 3000 {
		data = appendFrame(data, ws.OpBinary, bytes.Repeat([]byte{byte(i)}, i%700), nil)
	}
	early := bufio.NewReaderSize(bytes.NewReader(data), quietBuffer)
	if _, err := early.Peek(100); err != nil { // a part of it came with the handshake
		t.Fatal(err)
	}
	c := newCarrier(nil, early, true)
	rest := early.Buffered()
	c.join(bytesConn{r: bytes.NewReader(data[rest:])})
	if n := c.r.Size(); n != quietBuffer {
		t.Fatalf("%d bytes of buffer at first", n)
	}
	most, shrunk := 0, false
	for i := range 3000 {
		if i > 1000 && i%100 == 0 {
			c.rest()
		}
		op, msg, err := c.read(1000)
		if err != nil || op != ws.OpBinary || !bytes.Equal(msg, bytes.Repeat([]byte{byte(i)}, i%700)) {
			t.Fatalf("message %d: %v, %d bytes, %v", i, op, len(msg), err)
		}
		most = max(most, c.r.Size())
		shrunk = shrunk || c.r.Size() < most
	}
	if most != linkBuffer || !shrunk {
		t.Errorf("%d bytes of buffer at most, and never less afterwards: %t", most, !shrunk)
	}
	c.rest()
	c.rest()
	if n := c.r.Size(); n != quietBuffer {
		t.Errorf("%d bytes of buffer after a rest in which nothing came", n)
	}
}
