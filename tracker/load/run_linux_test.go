package load_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/load"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// small is a load that takes half a second.
func small(urls ...string) load.Config {
	cfg := load.Config{
		URLs: urls,
		Shape: load.Shape{
			Connections: 24, Swarms: 3, Every: 100 * time.Millisecond, Offers: 4,
			For: 300 * time.Millisecond,
		},
		Settle: -1, Sample: 1, Late: time.Minute,
	}
	rand.Read(cfg.Seed[:])
	return cfg
}

// serve runs a server until the test ends and returns its address.
func serve(t *testing.T, cfg wsserver.Config) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	if !cfg.Echo {
		trk, err := tracker.New(tracker.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Tracker = trk
		go func() { trk.Run(ctx); done <- struct{}{} }()
	} else {
		done <- struct{}{}
	}
	srv, err := wsserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { srv.Serve(ctx, l); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return l.Addr().String()
}

func run(t *testing.T, cfg load.Config) *load.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err := load.Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// certificate makes one for 127.0.0.1 and the pool that it is verified by.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// Over TLS too, with messages of many records and records of many messages.
func TestTLS(t *testing.T) {
	server, roots := certificate(t)
	url := "wss://" + serve(t, wsserver.Config{TLS: server})
	cfg := small(url)
	cfg.Roots, cfg.Offers = roots, 7
	cfg.PIDs = []int{os.Getpid()}
	report := run(t, cfg)
	if n := report.Faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, report.Faults)
	}
	if !report.Connect.TLS || report.Answer.Count != 7*report.Reply.Count || report.Reply.Count == 0 || report.CPUPerMessage <= 0 {
		t.Errorf("%+v", report)
	}
	cfg.Roots = x509.NewCertPool()
	if report, err := load.Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %+v, %v", report, err)
	}
}

// A tracker that does as it should is without fault, and all that was sent is
// accounted for: of 32 messages for 10 offers here 14 for 4.
func TestTracker(t *testing.T) {
	report := run(t, small("ws://"+serve(t, wsserver.Config{})))
	if n := report.Faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, report.Faults)
	}
	if report.Connect.Connections != 24 || report.Reply.Count == 0 || report.Answer.Count != 4*report.Reply.Count {
		t.Errorf("%+v", report)
	}
}

func TestEcho(t *testing.T) {
	cfg := small("ws://" + serve(t, wsserver.Config{Echo: true}))
	cfg.Echo = true
	report := run(t, cfg)
	if n := report.Faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, report.Faults)
	}
	if report.Reply.Count == 0 || report.Answer.Count == 0 {
		t.Errorf("%+v", report)
	}
}

// An echo that is not what was sent, or does not come, is a fault.
func TestEchoFaults(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(n int, text []byte) [][]byte
		want   func(*load.Faults) int64
	}{
		"lost": {func(n int, text []byte) [][]byte {
			if n > 5 {
				return nil
			}
			return [][]byte{text}
		}, func(f *load.Faults) int64 { return f.EchoesLost }},
		"altered": {func(n int, text []byte) [][]byte {
			text[len(text)/2] ^= 1
			return [][]byte{text}
		}, func(f *load.Faults) int64 { return f.EchoesAltered }},
		"twice": {func(n int, text []byte) [][]byte { return [][]byte{text, text} }, func(f *load.Faults) int64 { return f.EchoesAltered }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small(echoing(t, c.answer))
			cfg.Echo, cfg.Drain = true, 300*time.Millisecond
			if report := run(t, cfg); c.want(&report.Faults) == 0 {
				t.Errorf("not noticed: %+v", report.Faults)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*load.Config){
		"no URL":                func(c *load.Config) { c.URLs = nil },
		"three URLs":            func(c *load.Config) { c.URLs = []string{"ws://a", "ws://b", "ws://c"} },
		"http":                  func(c *load.Config) { c.URLs = []string{"http://a"} },
		"no host":               func(c *load.Config) { c.URLs = []string{"ws:///a"} },
		"no connection":         func(c *load.Config) { c.Connections = 0 },
		"more swarms than that": func(c *load.Config) { c.Swarms = 25 },
		"no swarm":              func(c *load.Config) { c.Swarms = 0 },
		"too many offers":       func(c *load.Config) { c.Offers = load.MaxOffers + 1 },
		"too often":             func(c *load.Config) { c.Every = time.Millisecond },
		"no time":               func(c *load.Config) { c.For = 0 },
		"echo of nothing":       func(c *load.Config) { c.Echo, c.Every = true, 0 },
		"negative":              func(c *load.Config) { c.Drain = -1 },
	} {
		cfg := small("ws://127.0.0.1:1")
		change(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, shape := range load.Profiles() {
		if err := (load.Config{URLs: []string{"ws://a"}, Shape: shape}).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
