//go:build linux

package nettest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// Client is a tracker's client on a host, as WebTorrent has it: it announces
// with offers, and answers every offer that it gets, unless it is Mute.
type Client struct {
	ID   string // peer id
	tb   testing.TB
	conn net.Conn

	write  sync.Mutex // held while a message is written
	mu     sync.Mutex
	mute   bool
	made   int // offers
	got    Log
	closed error
}

// Log is what a client has seen, in order.
type Log struct {
	Offers  []Exchange // that it got
	Answers []Exchange // that came to its own offers
	Replies int        // to its announces
	Members int        // of the swarm, by the last reply: itself too
}

// Exchange is one offer or answer.
type Exchange struct{ From, OfferID string }

// Client connects to a tracker at url, which has an address for its host:
// ws://11.1.0.1:8000. name is made a peer id of 20 characters.
func (h *Host) Client(url, name string) *Client {
	h.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	d := ws.Dialer{NetDial: h.DialContext, TLSConfig: h.net.TLS()}
	conn, br, _, err := d.Dial(ctx, url)
	if err != nil {
		h.tb.Fatalf("client %s on %s: %v", name, h.Name, err)
	}
	if br != nil {
		h.tb.Fatalf("client %s on %s: a server speaks first", name, h.Name)
	}
	c := &Client{ID: fmt.Sprintf("-NT0001-%-12.12s", name), tb: h.tb, conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.read()
	}()
	h.tb.Cleanup(func() {
		conn.Close()
		<-done
	})
	return c
}

// Mute makes the client keep offers without an answer from now on.
func (c *Client) Mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
}

// Close ends the connection, as a page that is closed does.
func (c *Client) Close() { c.conn.Close() }

// Announce announces a swarm with so many new offers, as a leecher, and
// returns their ids.
func (c *Client) Announce(infoHash string, offers int) (ids []string) {
	type sdp struct {
		Type string `json:"type"`
		SDP  string `json:"sdp"`
	}
	type offer struct {
		ID    string `json:"offer_id"`
		Offer sdp    `json:"offer"`
	}
	list := make([]offer, offers)
	c.mu.Lock()
	for i := range list {
		c.made++
		list[i] = offer{fmt.Sprintf("%-12.12s%08d", c.ID[8:], c.made), sdp{"offer", "of " + c.ID}}
		ids = append(ids, list[i].ID)
	}
	c.mu.Unlock()
	c.send(map[string]any{
		"action": "announce", "info_hash": infoHash, "peer_id": c.ID, "left": 1,
		"uploaded": 0, "downloaded": 0, "numwant": offers, "offers": list,
	})
	return ids
}

// Stop leaves a swarm.
func (c *Client) Stop(infoHash string) {
	c.send(map[string]any{"action": "announce", "info_hash": infoHash, "peer_id": c.ID, "event": "stopped"})
}

func (c *Client) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.fail(err)
		return
	}
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(Patience))
	if err := wsutil.WriteClientText(c.conn, b); err != nil {
		c.fail(err)
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = err
	}
}

// Closed is why the connection has ended, nil while it lives.
func (c *Client) Closed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Log is what the client has seen so far.
func (c *Client) Log() Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.got
	l.Offers = append([]Exchange(nil), l.Offers...)
	l.Answers = append([]Exchange(nil), l.Answers...)
	return l
}

// Met reports whether an answer has come between c and other, either way.
func (c *Client) Met(other *Client) bool {
	return c.answeredBy(other) > 0 || other.answeredBy(c) > 0
}

func (c *Client) answeredBy(other *Client) (n int) {
	for _, a := range c.Log().Answers {
		if a.From == other.ID {
			n++
		}
	}
	return n
}

// read takes what the tracker sends, until the connection ends.
func (c *Client) read() {
	for {
		b, _, err := wsutil.ReadServerData(c.conn) // answers pings
		if err != nil {
			c.fail(err)
			return
		}
		var m struct {
			InfoHash string          `json:"info_hash"`
			PeerID   string          `json:"peer_id"`
			OfferID  string          `json:"offer_id"`
			Offer    json.RawMessage `json:"offer"`
			Answer   json.RawMessage `json:"answer"`
			Failure  string          `json:"failure reason"`

			Complete, Incomplete int
		}
		if err := json.Unmarshal(b, &m); err != nil || m.Failure != "" {
			c.tb.Errorf("client %s got %s", c.ID, b)
			continue
		}
		if c.note(Exchange{m.PeerID, m.OfferID}, m.Offer != nil, m.Answer != nil, m.Complete+m.Incomplete) {
			c.send(map[string]any{
				"action": "announce", "info_hash": m.InfoHash, "peer_id": c.ID, "to_peer_id": m.PeerID, "offer_id": m.OfferID,
				"answer": map[string]string{"type": "answer", "sdp": "of " + c.ID},
			})
		}
	}
}

// note logs a message, and reports whether it is to be answered.
func (c *Client) note(e Exchange, offer, answer bool, members int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case offer:
		c.got.Offers = append(c.got.Offers, e)
		return !c.mute
	case answer:
		c.got.Answers = append(c.got.Answers, e)
	default:
		c.got.Replies++
		c.got.Members = members
	}
	return false
}
