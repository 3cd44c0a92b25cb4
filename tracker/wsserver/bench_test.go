package wsserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// skip reads frames without a look at their contents, into one buffer.
func (c *client) skip(n int, buf []byte) {
	for range n {
		if _, err := io.ReadFull(c.br, buf[:2]); err != nil {
			c.t.Fatal(err)
		}
		size := int(buf[1])
		if size == 126 {
			if _, err := io.ReadFull(c.br, buf[:2]); err != nil {
				c.t.Fatal(err)
			}
			size = int(binary.BigEndian.Uint16(buf))
		}
		if _, err := io.ReadFull(c.br, buf[:size]); err != nil {
			c.t.Fatal(err)
		}
	}
}

// BenchmarkAnnounce is an announce and its reply over a loopback socket.
func BenchmarkAnnounce(b *testing.B) {
	in := start(b, nil)
	c := in.dial("/")
	out := frame(fin|opText, []byte(announce(hash, pid("a"))))
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		c.nc.Write(out)
		c.skip(1, buf)
	}
}

// BenchmarkRelay is an announce with ten offers, which ten other connections
// receive: 12 messages over loopback sockets.
func BenchmarkRelay(b *testing.B) {
	in := start(b, nil)
	var peers []*client
	for i := range 10 {
		p := in.dial("/")
		p.join(hash, pid(fmt.Sprint("p", i)))
		peers = append(peers, p)
	}
	sdps := make([]string, 10)
	for i := range sdps {
		sdps[i] = strings.Repeat("v=0 ", 250)
	}
	c := in.dial("/")
	out := frame(fin|opText, []byte(announce(hash, pid("a"), sdps...)))
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(out)))
	b.ReportAllocs()
	for b.Loop() {
		c.nc.Write(out)
		c.skip(1, buf)
		for _, p := range peers {
			p.skip(1, buf)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/12, "ns/msg")
}

// The way from socket to socket allocates nothing in the steady state, test
// client included.
func TestSteadyConnectionsDoNotAllocate(t *testing.T) { onBoth(t, testSteadyConnectionsDoNotAllocate) }

func testSteadyConnectionsDoNotAllocate(t *testing.T, e engine) {
	if raceEnabled {
		t.Log("the race detector makes sync.Pool drop things on purpose: only run, not counted")
	}
	in := e.start(t, nil)
	a, b := in.dial("/"), in.dial("/")
	a.join(hash, pid("a"))
	b.join(hash, pid("b"))
	a.nc.SetReadDeadline(time.Now().Add(patience))
	b.nc.SetReadDeadline(time.Now().Add(patience))
	out := frame(fin|opText, []byte(announce(hash, pid("b"), strings.Repeat("v=0 ", 250))))
	buf := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(500, func() {
		b.nc.Write(out)
		b.skip(1, buf)
		a.skip(1, buf)
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations for an announce, its reply and its offer", n)
	}
}

// BenchmarkIdle prints what a connection that has announced and is silent
// holds, the test's end of the socket (about 0.5 KiB) included.
func BenchmarkIdle(b *testing.B) {
	const conns = 1000
	in := start(b, nil)
	settle := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	for b.Loop() {
		before := settle()
		list := make([]net.Conn, conns)
		for i := range list {
			c := in.dial("/")
			c.join(hash, pid(fmt.Sprint(i)))
			list[i] = c.nc
		}
		b.ReportMetric((settle()-before)/conns/1024, "KiB/conn")
		for _, nc := range list {
			nc.Close()
		}
		in.until("all are gone", func() bool { return in.srv.Stats().Conns == 0 })
	}
}

// BenchmarkReader is the framing alone: an announce of 11 KB.
func BenchmarkReader(b *testing.B) {
	stream := frame(fin|opText, bytes.Repeat([]byte("x"), 10_900))
	src := bytes.NewReader(stream)
	var r reader
	r.init(src, new(fakeControls), new(buffers), unbounded(), 256<<10, nil)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(stream)
		if _, _, err := r.next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncode is one offer of 1.1 KB becoming a frame.
func BenchmarkEncode(b *testing.B) {
	m := &wire.Message{
		Kind: wire.KindOffer, InfoHash: []byte(hash), PeerID: []byte(pid("a")), OfferID: []byte(`"offer-00"`),
		Payload: []byte(`{"type":"offer","sdp":"` + strings.Repeat("v=0 ", 280) + `"}`),
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendText(buf[:0], m)
	}
}
