package dhtstore

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// rawClient speaks KRPC by hand, so that it can say what no library would.
type rawClient struct {
	t    testing.TB
	conn net.PacketConn
	to   netip.AddrPort
	id   nodeID
	next int
	size int // of the last reply
}

func listenRaw(t testing.TB, ip string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // may be closed already
	return conn
}

func dialRaw(t testing.TB, ip string, to netip.AddrPort) *rawClient {
	t.Helper()
	return &rawClient{t: t, conn: listenRaw(t, ip), to: to, id: nodeID{'r', 'a', 'w'}}
}

func (r *rawClient) addr() netip.AddrPort {
	a, _ := addrPort(r.conn.LocalAddr())
	return a
}

// query encodes a query of a node that answers none (BEP 43). args are
// encoded arguments that sort after "id".
func (r *rawClient) query(method, args string) string {
	r.next++
	tid := fmt.Sprint(r.next)
	return fmt.Sprintf("d1:ad2:id20:%s%se1:q%d:%s2:roi1e1:t%d:%s1:y1:qe", r.id[:], args, len(method), method, len(tid), tid)
}

// ask sends a query and returns the reply, parsed.
func (r *rawClient) ask(method, args string) *message {
	r.t.Helper()
	return r.exchange(r.query(method, args))
}

// exchange sends a datagram until one comes back.
func (r *rawClient) exchange(datagram string) *message {
	r.t.Helper()
	m, err := r.try(datagram, 10*time.Second)
	if err != nil {
		r.t.Fatalf("no reply to %q: %v", datagram, err)
	}
	return m
}

func (r *rawClient) try(datagram string, patience time.Duration) (*message, error) {
	r.t.Helper()
	if _, err := r.conn.WriteTo([]byte(datagram), net.UDPAddrFromAddrPort(r.to)); err != nil {
		r.t.Fatal(err)
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	size, _, err := r.conn.ReadFrom(b)
	if err != nil {
		return nil, err
	}
	if r.size = size; size > 1400 {
		r.t.Errorf("a reply of %d bytes", size)
	}
	m := new(message)
	if f := m.parse(b[:size]); f != faultNone {
		r.t.Fatalf("the reply %q has fault %d", b[:size], f)
	}
	return m, nil
}
