// Command goclient is anacrolix/torrent as a person would run it, over WebRTC
// and WebSocket trackers alone, for the end-to-end tests.
//
// It is a module of its own so that the client's many dependencies are not
// those of peerservers.
//
//	goclient seed -tracker URL [-tracker URL] [-size N]
//	goclient leech -tracker URL [-tracker URL] -infohash HEX
//
// Each result is one line of JSON. A seeder stays, and a leecher seeds, until
// its standard input ends.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/pion/webrtc/v4"
)

// result is what a role reports; fields that do not apply stay out.
type result struct {
	InfoHash    string   `json:"infoHash"`
	PeerID      string   `json:"peerId"`
	SHA256      string   `json:"sha256"`
	Length      int64    `json:"length"`
	FirstPeerMS int64    `json:"firstPeerMs,omitempty"`
	DoneMS      int64    `json:"doneMs,omitempty"`
	Wires       []string `json:"wires,omitempty"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("say what to be: seed or leech")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	var trackers []string
	flags.Func("tracker", "announce `URL` (repeatable)", func(s string) error {
		trackers = append(trackers, s)
		return nil
	})
	size := flags.Int64("size", 5_000_000, "bytes to seed")
	infoHash := flags.String("infohash", "", "what to download, in hex")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "goclient-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var role func(*client, *result) error
	switch args[0] {
	case "seed":
		role = func(c *client, r *result) error { return c.seed(r, dir, trackers, *size) }
	case "leech":
		role = func(c *client, r *result) error { return c.leech(r, trackers, *infoHash) }
	default:
		return fmt.Errorf("neither seed nor leech: %q", args[0])
	}
	c, err := open(dir)
	if err != nil {
		return err
	}
	defer c.torrents.Close()
	var r result
	if err := role(c, &r); err != nil {
		return err
	}
	id := c.torrents.PeerID()
	r.PeerID = hex.EncodeToString(id[:])
	if err := json.NewEncoder(stdout).Encode(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// client is a torrent client that notes how its peers came.
type client struct {
	torrents *torrent.Client
	started  time.Time

	mu        sync.Mutex
	firstPeer time.Duration
	wires     []string
}

func open(dir string) (*client, error) {
	c := &client{started: time.Now()}
	cfg := torrent.NewDefaultClientConfig()
	cfg.DataDir = dir
	cfg.Seed = true
	// Whatever arrives, arrives over WebRTC.
	cfg.DisableTCP, cfg.DisableUTP, cfg.NoDHT, cfg.DisablePEX = true, true, true, true
	cfg.NoDefaultPortForwarding = true
	cfg.ListenPort = 0
	// No STUN servers, which are out of reach.
	cfg.ICEServerList = []webrtc.ICEServer{}
	cfg.Slogger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg.Callbacks.PeerConnAdded = append(cfg.Callbacks.PeerConnAdded, c.peerAdded)
	var err error
	c.torrents, err = torrent.NewClient(cfg)
	return c, err
}

func (c *client) peerAdded(p *torrent.PeerConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.firstPeer == 0 {
		c.firstPeer = time.Since(c.started)
	}
	c.wires = append(c.wires, p.Network)
}

func (c *client) seed(r *result, dir string, trackers []string, size int64) error {
	name := filepath.Join(dir, "random.bin")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(file, hash), rand.Reader, size); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	info := metainfo.Info{PieceLength: 64 << 10}
	if err := info.BuildFromFilePath(name); err != nil {
		return err
	}
	raw, err := bencode.Marshal(info)
	if err != nil {
		return err
	}
	t, err := c.torrents.AddTorrent(&metainfo.MetaInfo{InfoBytes: raw, AnnounceList: tiers(trackers)})
	if err != nil {
		return err
	}
	<-t.Complete().On()
	r.InfoHash, r.SHA256, r.Length = t.InfoHash().HexString(), hex.EncodeToString(hash.Sum(nil)), size
	return nil
}

func (c *client) leech(r *result, trackers []string, infoHash string) error {
	var hash metainfo.Hash
	if err := hash.FromHexString(infoHash); err != nil {
		return fmt.Errorf("-infohash: %w", err)
	}
	t, _ := c.torrents.AddTorrentInfoHash(hash)
	t.AddTrackers(tiers(trackers))
	<-t.GotInfo()
	t.DownloadAll()
	<-t.Complete().On()
	done := time.Since(c.started)
	sum := sha256.New()
	reader := t.NewReader()
	defer reader.Close()
	length, err := io.Copy(sum, reader)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.InfoHash, r.SHA256, r.Length = strings.ToLower(infoHash), hex.EncodeToString(sum.Sum(nil)), length
	r.FirstPeerMS, r.DoneMS, r.Wires = c.firstPeer.Milliseconds(), done.Milliseconds(), c.wires
	return nil
}

// tiers puts each tracker in a tier of its own, so that all are used.
func tiers(trackers []string) (list [][]string) {
	for _, url := range trackers {
		list = append(list, []string{url})
	}
	return list
}
