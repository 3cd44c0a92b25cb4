package federation_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/tracker"
)

// onLoopback makes node i serve links on a real socket and dial through a
// real guard; with a certificate, over TLS that its record pins.
func onLoopback(t testing.TB, w *world, i int, cert *tls.Certificate, opts ...option) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "ws"
	if cert != nil {
		scheme = "wss"
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	u, err := nodeaddr.Parse(fmt.Sprintf("%s://%s", scheme, l.Addr()), true)
	if err != nil {
		t.Fatal(err)
	}
	n := w.make(i, append(opts, func(c *federation.Config, _ *tracker.Config) {
		c.Dialer = nil
		c.URLs = []nodeaddr.URL{u}
		if cert != nil {
			leaf, err := x509.ParseCertificate(cert.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
			c.Pin = &pin
		}
	})...)
	w.wait.Add(1)
	go func() {
		defer w.wait.Done()
		var serving sync.WaitGroup
		defer serving.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { n.serve(c) })
		}
	}()
	context.AfterFunc(n.ctx, func() { l.Close() })
	n.run()
	return n
}

// await waits until two clients have met, for far longer than it takes.
func await(t testing.TB, a, b *client) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Microsecond) {
		if a.met(b) && b.met(a) {
			return
		}
	}
	t.Fatalf("%s and %s were not introduced", a.id, b.id)
}

func TestLoopback(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t)
	defer w.close()
	a, b := onLoopback(t, w, 1, nil), onLoopback(t, w, 2, nil)
	ca, cb := a.client("alice"), b.client("bob")
	ca.announce(hash(1), 5)
	cb.announce(hash(1), 5)
	await(t, ca, cb)
}

func TestPinnedCertificate(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t)
	defer w.close()
	cert := selfSigned(t)
	// The list of the swarm is the only way in, so both know the record, and
	// with it the pin, before they dial.
	a, b := onLoopback(t, w, 1, cert, noRendezvous), onLoopback(t, w, 2, cert, noRendezvous)
	ca, cb := a.client("alice"), b.client("bob")
	ca.announce(hash(1), 5)
	cb.announce(hash(1), 5)
	await(t, ca, cb)
	// Without the pin, no authority vouches for that certificate.
	c := onLoopback(t, w, 3, nil, noRendezvous)
	c.fed.DialNow(a.cfg.URLs[0])
	if n := len(c.fed.Status().Links); n != 0 {
		t.Fatal("an unknown certificate was taken")
	}
}

func selfSigned(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pair is two nodes on loopback that share swarm 0.
func pair(b *testing.B) (w *world, x, y *node) {
	w = newWorld(b)
	x, y = onLoopback(b, w, 1, nil), onLoopback(b, w, 2, nil)
	ca, cb := x.client("alice"), y.client("bob")
	ca.announce(hash(0), 5)
	cb.announce(hash(0), 5)
	await(b, ca, cb)
	return w, x, y
}

// One announce with one offer: over the link, answered, and back. A swarm's
// quota for offers from a node lets about a hundred through at once, hence a
// new swarm now and then.
func BenchmarkRelayAcrossALink(b *testing.B) {
	w, x, y := pair(b)
	defer w.close()
	var ca *client
	ih, have := "", 0
	for i := 0; b.Loop(); i++ {
		if i%64 == 0 {
			b.StopTimer()
			ih = hash(1000 + i)
			ca = x.client(fmt.Sprint("x", i))
			cb := y.client(fmt.Sprint("y", i))
			cb.announce(ih, 0)
			ca.announce(ih, 1)
			await(b, ca, cb)
			have = 1
			b.StartTimer()
		}
		ca.announce(ih, 1)
		have++
		for tries := 0; ; tries++ {
			ca.mu.Lock()
			n := len(ca.answers)
			ca.mu.Unlock()
			if n >= have {
				break
			}
			if tries > 100_000 {
				b.Fatal("an offer was not answered")
			}
			time.Sleep(5 * time.Microsecond)
		}
	}
}

// Two clients on two nodes that have not met, one announce each.
func BenchmarkIntroduceCold(b *testing.B) {
	var total time.Duration
	n := 0
	for b.Loop() {
		w := newWorld(b)
		x, y := onLoopback(b, w, 1, nil, noRendezvous), onLoopback(b, w, 2, nil, noRendezvous)
		ca, cb := x.client("alice"), y.client("bob")
		ca.announce(hash(1), 5)
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		cb.announce(hash(1), 5)
		await(b, ca, cb)
		total += time.Since(start)
		n++
		w.close()
	}
	b.ReportMetric(float64(total.Microseconds())/1000/float64(n), "ms/cold-meet")
}

// A new client of a node that shares the swarm already.
func BenchmarkIntroduceShared(b *testing.B) {
	w, x, y := pair(b)
	defer w.close()
	cb := y.client("carol")
	cb.announce(hash(0), 0)
	time.Sleep(500 * time.Millisecond)
	var total time.Duration
	n := 0
	for b.Loop() {
		ca := x.client(fmt.Sprint("x", n))
		start := time.Now()
		ca.announce(hash(0), 20)
		await(b, ca, cb)
		total += time.Since(start)
		n++
		ca.s.Close()
	}
	b.ReportMetric(float64(total.Microseconds())/1000/float64(n), "ms/shared-meet")
}
