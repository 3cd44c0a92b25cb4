package tlsstream

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// once makes a connection, exchanges a few bytes over it and returns what was
// agreed on.
func once(t *testing.T, s *Server, client *tls.Config) Info {
	t.Helper()
	c, conn, info := pair(t, s, client, 0)
	defer c.Close()
	defer conn.Close()
	go conn.Write([]byte("abc"))
	buf := make([]byte, 3)
	// The ticket comes before it.
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "abc" {
		t.Fatalf("%q, %v", buf, err)
	}
	go c.Write(buf)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "abc" {
		t.Fatalf("%q, %v", buf, err)
	}
	return info
}

// TestResumption: clients resume, for as long as tickets are accepted, and the
// keys of tickets are replaced.
func TestResumption(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		for _, version := range versions {
			t.Run(tls.VersionName(version), func(t *testing.T) {
				var late atomic.Int64 // hours
				config := serverConfig()
				now := time.Now()
				config.Time = func() time.Time { return now.Add(time.Duration(late.Load()) * time.Hour) }
				s := newServer(cfg, config)
				tickets := &ticketCache{}
				client := clientConfig()
				client.MaxVersion, client.ClientSessionCache = version, tickets
				resumed := func(hours int64) bool {
					late.Store(hours)
					return once(t, s, client).Resumed
				}
				if resumed(0) {
					t.Fatal("resumed at once")
				}
				first := tickets.state
				if !resumed(0) || !resumed(1) {
					t.Error("does not resume")
				}
				if !resumed(25) {
					t.Error("does not resume with a key of yesterday")
				}
				if !resumed(48) {
					t.Error("does not resume with a ticket of the new key")
				}
				tickets.state = first
				if resumed(24 * 8) {
					t.Error("resumes with a key of a week ago")
				}
				if c := s.Stats(); c.Resumed != 4 || c.Done != 6 {
					t.Errorf("counts %+v", c)
				}
			})
		}
	})
}

// ticketCache keeps the last ticket of any server. A client's clock is the
// real one.
type ticketCache struct{ state *tls.ClientSessionState }

func (c *ticketCache) Get(string) (*tls.ClientSessionState, bool) { return c.state, c.state != nil }
func (c *ticketCache) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.state = s
	}
}

// TestTicketKeys: keys that a program gives its Config are those that are used,
// also when it gives others later, and in whatever GetConfigForClient returns.
func TestTicketKeys(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		config := serverConfig()
		config.SetSessionTicketKeys([][32]byte{{1}})
		client := clientConfig()
		client.ClientSessionCache = &ticketCache{}
		once(t, newServer(cfg, config), client)

		another := serverConfig()
		s := newServer(cfg, another)
		once(t, s, clientConfig()) // it has been used
		another.SetSessionTicketKeys([][32]byte{{2}, {1}})
		if !once(t, s, client).Resumed {
			t.Error("another server with the key does not resume")
		}
		third := serverConfig()
		third.SetSessionTicketKeys([][32]byte{{2}})
		outer := serverConfig()
		outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return third, nil }
		if !once(t, newServer(cfg, outer), client).Resumed {
			t.Error("a server that gets its configuration for the client does not resume")
		}
	})
}

// TestNoTickets: counts fit also when crypto/tls sends none.
func TestNoTickets(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		config := serverConfig()
		config.SessionTicketsDisabled = true
		if info := once(t, newServer(cfg, config), clientConfig()); info.OwnRecords != cfg.OwnRecords {
			t.Errorf("own records: %t", info.OwnRecords)
		}
	})
}

// TestClientCertificate: with one, the ticket comes after the client's Finished.
func TestClientCertificate(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		config, client := serverConfig(), clientConfig()
		config.ClientAuth = tls.RequireAnyClientCert
		client.Certificates = config.Certificates
		client.ClientSessionCache = &ticketCache{}
		s := newServer(cfg, config)
		for i := range 2 {
			info := once(t, s, client)
			if info.OwnRecords != cfg.OwnRecords || info.Resumed != (i == 1) {
				t.Errorf("connection %d: %+v", i, info)
			}
		}
	})
}

// TestRetry: a client whose key share is for another curve is asked again.
func TestRetry(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		config, client := serverConfig(), clientConfig()
		config.CurvePreferences = []tls.CurveID{tls.CurveP384}
		client.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
		if info := once(t, newServer(cfg, config), client); info.OwnRecords != cfg.OwnRecords {
			t.Errorf("own records: %t", info.OwnRecords)
		}
	})
}

// TestProtocol: what ALPN agrees on is reported, an ACME challenge above all.
func TestProtocol(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		s := newServer(cfg, serverConfig())
		for _, offer := range [][]string{nil, {"http/1.1"}, {"acme-tls/1"}, {"h2", "http/1.1"}} {
			client := clientConfig()
			client.NextProtos = offer
			want := ""
			if len(offer) > 0 {
				want = offer[len(offer)-1]
			}
			if info := once(t, s, client); info.Protocol != want {
				t.Errorf("%q: %q", offer, info.Protocol)
			}
		}
	})
}

// TestKeyLog: a program that logs keys has all of them in its log, of each kind.
func TestKeyLog(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		var server, client bytes.Buffer
		serverSide, clientSide := serverConfig(), clientConfig()
		serverSide.KeyLogWriter, clientSide.KeyLogWriter = &server, &client
		once(t, newServer(cfg, serverSide), clientSide)
		if n := bytes.Count(server.Bytes(), []byte("\n")); n != 4 {
			t.Errorf("%d lines", n)
		}
		for line := range bytes.Lines(client.Bytes()) {
			if !bytes.Contains(server.Bytes(), line) {
				t.Errorf("the server's log lacks %s", line)
			}
		}
	})
}

// TestCallbacks: errors of a configuration's callbacks end the handshake.
func TestCallbacks(t *testing.T) {
	for name, change := range map[string]func(*tls.Config){
		"GetConfigForClient": func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.ErrNoProgress }
		},
		"GetCertificate": func(c *tls.Config) {
			c.Certificates = nil
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.ErrNoProgress }
		},
	} {
		config := serverConfig()
		change(config)
		s := newServer(Config{OwnRecords: true}, config)
		a, raw := socketPair(t)
		failed := make(chan error, 1)
		go func() { failed <- tls.Client(a, clientConfig()).Handshake() }()
		if _, _, _, err := shake(t, s, raw, 0); err != io.ErrNoProgress {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-failed; err == nil || !strings.HasSuffix(err.Error(), "internal error") {
			t.Errorf("%s: the client says %v", name, err)
		}
	}
}

// TestDoubt: crypto/tls goes on with the records where anything about them is
// not as expected.
func TestDoubt(t *testing.T) {
	rec := func(typ contentType, n int) []byte {
		return append([]byte{byte(typ), 3, 3, byte(n >> 8), byte(n)}, make([]byte, n)...)
	}
	fresh := func() (*takeover, []byte, []byte) {
		t13, s := &takeover{}, sha256Suite()
		var ends [secrets]half
		for i := range t13.secrets {
			t13.secrets[i] = bytes.Repeat([]byte{byte(i)}, s.size)
			ends[i].start(suites[0], t13.secrets[i])
		}
		sent := append(rec(typeHandshake, 90), rec(typeChange, 1)...)
		for range 4 {
			sent = ends[serverHandshake].seal(sent, typeHandshake, []byte{8, 0, 0, 0})
		}
		sent = ends[serverTraffic].seal(sent, typeHandshake, []byte{messageNewTicket, 0, 0, 0})
		received := append(rec(typeHandshake, 90), rec(typeChange, 1)...)
		received = ends[clientHandshake].seal(received, typeHandshake, []byte{20, 0, 0, 0})
		return t13, sent, received
	}
	cases := map[string]func(t13 *takeover, sent, received *[]byte, version, suite *uint16){
		"TLS 1.2":                 func(_ *takeover, _, _ *[]byte, v, _ *uint16) { *v = tls.VersionTLS12 },
		"unknown suite":           func(_ *takeover, _, _ *[]byte, _, s *uint16) { *s = 0x1304 },
		"another suite":           func(_ *takeover, _, _ *[]byte, _, s *uint16) { *s = suites[1] },
		"another suite, as long":  func(_ *takeover, _, _ *[]byte, _, s *uint16) { *s = suites[2] },
		"nothing logged":          func(t13 *takeover, _, _ *[]byte, _, _ *uint16) { *t13 = takeover{} },
		"nothing sent":            func(_ *takeover, sent, _ *[]byte, _, _ *uint16) { *sent = nil },
		"nothing received":        func(_ *takeover, _, in *[]byte, _, _ *uint16) { *in = nil },
		"an alert":                func(_ *takeover, sent, _ *[]byte, _, _ *uint16) { *sent = append(*sent, rec(typeAlert, 2)...) },
		"half a record":           func(_ *takeover, _, in *[]byte, _, _ *uint16) { *in = (*in)[:len(*in)-1] },
		"half a header":           func(_ *takeover, sent, _ *[]byte, _, _ *uint16) { *sent = append(*sent, 23) },
		"a record of nobody":      func(_ *takeover, sent, _ *[]byte, _, _ *uint16) { *sent = append(*sent, rec(typeApplication, 30)...) },
		"a hello after it":        func(_ *takeover, sent, _ *[]byte, _, _ *uint16) { *sent = append(*sent, rec(typeHandshake, 30)...) },
		"a plain record after it": func(_ *takeover, sent, _ *[]byte, _, _ *uint16) { *sent = append(*sent, rec(typeChange, 1)...) },
		"a record of the handshake after it": func(t13 *takeover, sent, _ *[]byte, _, _ *uint16) {
			var h half
			h.start(suites[0], t13.secrets[serverHandshake])
			h.seq = 4
			*sent = h.seal(*sent, typeHandshake, []byte{8, 0, 0, 0})
		},
		"data that was sent": func(t13 *takeover, sent, _ *[]byte, _, _ *uint16) {
			var h half
			h.start(suites[0], t13.secrets[serverTraffic])
			h.seq = 1
			*sent = h.seal(*sent, typeApplication, []byte("data"))
		},
		"many tickets": func(t13 *takeover, sent, _ *[]byte, _, _ *uint16) {
			var h half
			h.start(suites[0], t13.secrets[serverTraffic])
			for h.seq = 1; h.seq < 9; {
				*sent = h.seal(*sent, typeHandshake, []byte{messageNewTicket, 0, 0, 0})
			}
		},
		"data that was read": func(t13 *takeover, _, in *[]byte, _, _ *uint16) {
			var h half
			h.start(suites[0], t13.secrets[clientTraffic])
			*in = h.seal(*in, typeApplication, []byte("data"))
		},
		"a message that was read": func(t13 *takeover, _, in *[]byte, _, _ *uint16) {
			var h half
			h.start(suites[0], t13.secrets[clientTraffic])
			*in = h.seal(*in, typeHandshake, []byte{messageNewTicket, 0, 0, 0})
		},
	}
	for i := range secrets {
		cases[fmt.Sprintf("another secret %d", i)] = func(t13 *takeover, _, _ *[]byte, _, _ *uint16) {
			if i == clientTraffic {
				t13.secrets[i] = nil // of another, nobody can know before there is a record
				return
			}
			t13.secrets[i] = bytes.Repeat([]byte{99}, 32)
		}
	}
	t13, sent, received := fresh()
	if s := t13.stream(newRecords(), sent, received, tls.VersionTLS13, suites[0]); s == nil || s.(*own).write.seq != 1 || s.(*own).read.seq != 0 {
		t.Fatal("there is doubt about what is in order")
	}
	for name, change := range cases {
		t13, sent, received := fresh()
		version, suite := uint16(tls.VersionTLS13), suites[0]
		change(t13, &sent, &received, &version, &suite)
		if s := t13.stream(newRecords(), sent, received, version, suite); s != nil {
			t.Errorf("%s: no doubt", name)
		}
	}
}

func sha256Suite() suite { s, _ := suiteOf(suites[0]); return s }
