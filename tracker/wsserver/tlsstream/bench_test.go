package tlsstream

import (
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"testing"
)

// BenchmarkMemory prints what a connection holds that is idle, and one that has
// got an announce with ten offers and sent some frames.
func BenchmarkMemory(b *testing.B) {
	const conns = 200
	for name, cfg := range kinds {
		for _, version := range versions {
			b.Run(fmt.Sprintf("%s/%s", name, tls.VersionName(version)), func(b *testing.B) {
				client := clientConfig()
				client.MaxVersion = version
				client.DynamicRecordSizingDisabled = true
				s := newServer(cfg, serverConfig())
				established(b, s, client) // whatever is made once
				streams := make([]Stream, conns)
				buf, out := make([]byte, 64<<10), make([]byte, 0, 64<<10)
				kib := func(before uint64) float64 { return float64(heap()-before) / 1024 / conns }
				for b.Loop() {
					before := heap()
					for i := range streams {
						c, raw, stream := established(b, s, client)
						c.NetConn().Close()
						raw.Close()
						streams[i] = stream
					}
					idle := kib(before)
					clear(streams)

					before = heap()
					for i := range streams {
						c, raw, stream := established(b, s, client)
						go c.Write(buf[:10900])
						for got := 0; got < 10900; {
							n, err := raw.Read(buf)
							if err != nil {
								b.Fatal(err)
							}
							out, err = stream.Open(out[:0], buf[:n])
							if err != nil {
								b.Fatal(err)
							}
							got += len(out)
						}
						for range 10 {
							out = stream.Seal(out[:0], buf[:1200])
						}
						c.NetConn().Close()
						raw.Close()
						streams[i] = stream
					}
					loaded := kib(before)
					for _, stream := range streams {
						stream.Idle()
					}
					b.ReportMetric(idle, "KiB/idle")
					b.ReportMetric(loaded, "KiB/loaded")
					b.ReportMetric(kib(before), "KiB/Idle()")
					clear(streams)
				}
			})
		}
	}
}

// heap is the memory in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSeal and BenchmarkOpen are one record each, of a relayed offer's size
// and of an announce's.
func BenchmarkSeal(b *testing.B) {
	benchStream(b, func(b *testing.B, _ *tls.Conn, _ net.Conn, stream Stream, size int) {
		plain, out := make([]byte, size), make([]byte, 0, 64<<10)
		for b.Loop() {
			out = stream.Seal(out[:0], plain)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	const most = 1000
	benchStream(b, func(b *testing.B, c *tls.Conn, raw net.Conn, stream Stream, size int) {
		plain, out := make([]byte, size), make([]byte, 0, 64<<10)
		var records []byte
		for done := 0; done < b.N; done += most {
			n := min(most, b.N-done)
			b.StopTimer()
			go func() {
				for range n {
					c.Write(plain)
				}
			}()
			records = records[:0]
			buf := make([]byte, 64<<10)
			for want := n * (size + headerLen + 1 + tagLen); len(records) < want; {
				m, err := raw.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				records = append(records, buf[:m]...)
			}
			b.StartTimer()
			for len(records) > 0 {
				part := records[:min(len(records), 32<<10)]
				records = records[len(part):]
				var err error
				if out, err = stream.Open(out[:0], part); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func benchStream(b *testing.B, f func(*testing.B, *tls.Conn, net.Conn, Stream, int)) {
	for name, cfg := range kinds {
		for _, size := range []int{1200, 10900} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				c, raw, stream := established(b, newServer(cfg, serverConfig()), clientConfig())
				defer raw.Close()
				defer c.NetConn().Close()
				b.ReportAllocs()
				b.SetBytes(int64(size))
				f(b, c, raw, stream, size)
			})
		}
	}
}

// BenchmarkIdle is what it costs to make both ciphers of an own stream again.
func BenchmarkIdle(b *testing.B) {
	for _, suite := range suites {
		b.Run(tls.CipherSuiteName(suite), func(b *testing.B) {
			o, _ := newPeer(b, suite)
			for b.Loop() {
				o.Idle()
				o.read.cipher()
				o.write.cipher()
			}
		})
	}
}
