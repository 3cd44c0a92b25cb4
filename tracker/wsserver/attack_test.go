package wsserver

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// What attackers do who know the protocol, or do not care. Each time somebody
// else is served all along.

// crowd connects n times.
func (in *instance) crowd(n int) (list []net.Conn) {
	in.t.Helper()
	for range n {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			in.t.Fatal(err)
		}
		in.t.Cleanup(func() { nc.Close() })
		list = append(list, nc)
	}
	return list
}

// empty waits until nobody is connected any more.
func (in *instance) empty() {
	in.t.Helper()
	in.until("everybody has gone", func() bool {
		st := in.srv.Stats()
		return st.Conns == 0 && st.Sockets == 0
	})
}

// Sockets that say nothing, half a request, or a byte now and then, go when
// their time is up.
func TestSilentCrowd(t *testing.T) { onBoth(t, testSilentCrowd) }

func testSilentCrowd(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) {
		c.HeaderTimeout = time.Second
		c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "crowd")
	})
	begins := []string{"", "G", goodRequest[:60], goodRequest[:len(goodRequest)-2], "\x16\x03\x01", "\x16\x03\x01\x40\x00" + strings.Repeat("x", 500)}
	crowd := in.crowd(900)
	for i, nc := range crowd {
		io.WriteString(nc, begins[i%len(begins)])
	}
	witness := in.dial("/")
	for range 10 {
		witness.join(hash, pid("w"))
	}
	var trickle sync.WaitGroup
	for _, nc := range crowd[:50] {
		trickle.Go(func() {
			for {
				if _, err := nc.Write([]byte("x")); err != nil {
					return
				}
				nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := nc.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
					return
				}
			}
		})
	}
	in.until("only one is left", func() bool { return in.srv.Stats().Sockets == 1 })
	trickle.Wait()
	witness.join(hash, pid("w"))
}

// Frames as small and as many as they can be, from several at once.
func TestTinyFrames(t *testing.T) { onBoth(t, testTinyFrames) }

func testTinyFrames(t *testing.T, e engine) {
	in := e.start(t, nil)
	announces := frame(fin|opText, []byte(announce(hash, pid("f"))))
	var floods sync.WaitGroup
	var all []net.Conn
	for _, unit := range [][]byte{
		append(frame(opText, []byte("{")), frame(fin, []byte("}"))...), // garbage
		frame(fin|opBinary, []byte("x")),
		frame(fin|opText, nil),
		frame(fin|opPong, nil),
		announces,
	} {
		cl := in.dial("/")
		all = append(all, cl.nc)
		floods.Go(func() { io.Copy(io.Discard, cl.br) })
		floods.Go(func() {
			for chunk := bytes.Repeat(unit, 2000); ; {
				if _, err := cl.nc.Write(chunk); err != nil {
					return
				}
			}
		})
	}
	witness := in.dial("/")
	for range 200 {
		witness.join(hash2, pid("w"))
	}
	for _, nc := range all {
		nc.Close()
	}
	floods.Wait()
	witness.join(hash2, pid("w"))
}

// Clients that send and do not read cost what they may, and go.
func TestStalledCrowd(t *testing.T) { onBoth(t, testStalledCrowd) }

func testStalledCrowd(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.Echo = true })
	witness := in.dial("/")
	var stalled sync.WaitGroup
	const crowd = 5
	message := frame(fin|opBinary, make([]byte, 60_000))
	for range crowd {
		cl := in.dial("/")
		cl.nc.(*net.TCPConn).SetReadBuffer(4096)
		stalled.Go(func() {
			for {
				if _, err := cl.nc.Write(message); err != nil {
					return
				}
			}
		})
	}
	for range 50 {
		witness.sync()
		if n := in.srv.Stats().Backlog; n > crowd*(1<<20+int64(len(message))) {
			t.Errorf("a backlog of %d bytes", n)
		}
	}
	in.until("they have gone", func() bool { return in.srv.Stats().Ended["overflow"] == crowd })
	stalled.Wait()
	witness.sync()
	// The pong is counted until the write that it was read from has returned.
	in.until("no backlog is left", func() bool { return in.srv.Stats().Backlog == 0 })
}

// Promises of large messages hold little.
func TestPromisingCrowd(t *testing.T) { onBoth(t, testPromisingCrowd) }

func testPromisingCrowd(t *testing.T, e engine) {
	in := e.start(t, nil)
	promise := frame(fin|opBinary, make([]byte, 256<<10))[:15] // one byte of it
	for range 300 {
		in.dial("/").write(promise)
	}
	in.until("all are there", func() bool { return in.srv.Stats().BytesIn == 300*int64(len(promise)) })
	in.dial("/").join(hash, pid("w"))
}

// Connections that come, say something or half of it, and are reset at any
// moment leave nothing behind.
func TestChurn(t *testing.T) { onBoth(t, testChurn) }

func testChurn(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "churn") })
	talk := goodRequest + string(frame(fin|opText, []byte(announce(hash, pid("c"), "sdp")))) + string(frame(opText, []byte("{")))
	var busy sync.WaitGroup
	for w := range uint64(4) {
		busy.Go(func() {
			rng := rand.New(rand.NewPCG(w, 5))
			for range 250 {
				nc, err := net.Dial("tcp", in.addr)
				if err != nil {
					t.Error(err)
					return
				}
				n := len(talk)
				if rng.IntN(2) == 0 {
					n = rng.IntN(n)
				}
				io.WriteString(nc, talk[:n])
				if rng.IntN(2) == 0 && n > len(goodRequest) {
					nc.Read(make([]byte, rng.IntN(200)+1))
				}
				if rng.IntN(3) > 0 {
					nc.(*net.TCPConn).SetLinger(0)
				}
				nc.Close()
			}
		})
	}
	busy.Wait()
	in.empty()
	in.until("no member is left", func() bool { return in.members(hash) == 0 })
	in.dial("/").join(hash, pid("w"))
}

// childEnv names the engine of a test that runs itself with few descriptors.
const childEnv = "WSSERVER_TEST_FEW_DESCRIPTORS"

// With no descriptor left nobody can be let in, but those who are there are
// served, and others once there is room again.
func TestNoDescriptors(t *testing.T) {
	if e := os.Getenv(childEnv); e != "" {
		fewDescriptors(t, engine(e))
		return
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		return // no shell, no ulimit
	}
	for _, e := range testEngines() {
		cmd := exec.Command(sh, "-c", `ulimit -n 100 && exec "$0" -test.run '^TestNoDescriptors$' -test.count 1`, os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+e)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", e, err, out)
		}
	}
}

func fewDescriptors(t *testing.T, e engine) {
	in := e.start(t, nil)
	witness := in.dial("/")
	witness.join(hash, pid("w"))
	var crowd []net.Conn
	for {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			break // the client has none left either
		}
		crowd = append(crowd, nc)
	}
	if len(crowd) < 10 {
		t.Fatalf("%d connections", len(crowd))
	}
	for range 100 {
		witness.join(hash, pid("w"))
	}
	// Free some: those that wait in the kernel are let in and served.
	for _, nc := range crowd[len(crowd)/4:] {
		nc.Close()
	}
	last := requestUpgrade(t, crowd[len(crowd)/4-1], "/")
	if last.resp.StatusCode != 101 {
		t.Fatal(last.resp.Status)
	}
	last.join(hash, pid("l"))
	in.dial("/").join(hash, pid("n"))
	for _, nc := range crowd {
		nc.Close()
	}
	witness.join(hash, pid("w"))
	in.until("only a few are left", func() bool { return in.srv.Stats().Sockets <= 3 })
	if got := fmt.Sprint(in.members(hash)); got == "0" {
		t.Error("nobody is left in the swarm")
	}
}
