package dhtstore

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

// The other implementation that clients use is npm's bittorrent-dht. These
// tests need Node and `npm ci` in testdata/dht-interop; scripts/test does
// that and sets the variable.
const interopEnv = "PEERSERVERS_INTEROP"

// jsNode is a bittorrent-dht node in a process of its own.
type jsNode struct {
	t     testing.TB
	stdin io.WriteCloser
	out   *bufio.Reader
	addr  netip.AddrPort
}

type jsReply struct {
	Error string   `json:"error"`
	Code  any      `json:"code"`
	Addr  string   `json:"addr"`
	Count int      `json:"count"`
	Peers []string `json:"peers"`
	Found bool     `json:"found"`
	Seq   int64    `json:"seq"`
	Text  string   `json:"text"`
}

func startJS(t testing.TB, ip string, boot ...string) *jsNode {
	t.Helper()
	cmd := exec.Command("node", append([]string{"peer.mjs", ip}, boot...)...)
	cmd.Dir = "../testdata/dht-interop"
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends with its input
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	js := &jsNode{t: t, stdin: stdin, out: bufio.NewReader(out)}
	js.addr = netip.MustParseAddrPort(js.must("address", nil).Addr)
	return js
}

func (js *jsNode) do(op string, args map[string]any) jsReply {
	js.t.Helper()
	request := map[string]any{"op": op}
	for k, v := range args {
		request[k] = v
	}
	b, err := json.Marshal(request)
	if err != nil {
		js.t.Fatal(err)
	}
	if _, err := js.stdin.Write(append(b, '\n')); err != nil {
		js.t.Fatal(err)
	}
	line, err := js.out.ReadBytes('\n')
	if err != nil {
		js.t.Fatalf("%s: %v", op, err)
	}
	var r jsReply
	if err := json.Unmarshal(line, &r); err != nil {
		js.t.Fatal(err)
	}
	return r
}

func (js *jsNode) must(op string, args map[string]any) jsReply {
	js.t.Helper()
	r := js.do(op, args)
	if r.Error != "" {
		js.t.Fatalf("%s: %s", op, r.Error)
	}
	return r
}

func TestInteropWithBittorrentDHT(t *testing.T) {
	if os.Getenv(interopEnv) == "" {
		t.Skipf("NOT TESTED: interoperation with npm bittorrent-dht. Run `npm ci` in testdata/dht-interop and set %s=1", interopEnv)
	}
	t.Run("one of them among ours", func(t *testing.T) {
		ours := startNetwork(t, 4)
		js := startJS(t, "127.0.2.1", ours[0].LocalAddr().String())
		testInterop(t, ours[1], ours[2], js)
	})
	t.Run("one of ours among them", func(t *testing.T) {
		first := startJS(t, "127.0.3.1")
		var theirs []*jsNode
		for i := range 3 {
			theirs = append(theirs, startJS(t, fmt.Sprintf("127.0.3.%d", i+2), first.addr.String()))
		}
		n := startNode(t, "127.0.4.1", nil, first.addr.String())
		eventually(t, func() bool { return n.GoodNodes() >= 4 })
		testInterop(t, n, n, theirs[1])
	})
	t.Run("two nodes in all", func(t *testing.T) {
		n := startNode(t, "127.0.5.1", nil)
		js := startJS(t, "127.0.5.2", n.LocalAddr().String())
		testInterop(t, n, n, js)
	})
}

// testInterop has a writer and a reader of ours and one of theirs see each
// other's announcements and items.
func testInterop(t *testing.T, writer, reader *Node, js *jsNode) {
	t.Helper()
	eventually(t, func() bool { return js.must("nodes", nil).Count > 0 && reader.GoodNodes() > 0 })
	// We have to have pinged it, or a lookup of ours may not know it.
	eventually(t, func() bool {
		reader.mu.Lock()
		defer reader.mu.Unlock()
		_, ok := reader.first().table.byAddr[js.addr]
		return ok || reader != writer
	})
	ctx := testContext(t)

	// Announcements.
	target := testTarget(100)
	if err := writer.Lookup(ctx, target, true, nil); err != nil {
		t.Fatal(err)
	}
	hash := hex.EncodeToString(target[:])
	if got := js.must("lookup", map[string]any{"hash": hash}); !strings.Contains(strings.Join(got.Peers, " "), writer.LocalAddr().String()) {
		t.Errorf("they find %v, want %v", got.Peers, writer.LocalAddr())
	}
	target = testTarget(101)
	hash = hex.EncodeToString(target[:])
	if got := js.must("announce", map[string]any{"hash": hash}); got.Count == 0 {
		t.Error("nobody took their announcement")
	}
	if got := lookupAll(t, reader, target, false); got[js.addr] == 0 {
		t.Errorf("we find %v, want %v", got, js.addr)
	}

	// Items of ours.
	key := testKey(77)
	public := hex.EncodeToString(testRecord(t, key, 1, "").Key)
	named := map[string]any{"key": public, "salt": recordSalt}
	for seq := int64(1); seq <= 2; seq++ {
		text := fmt.Sprint("ours ", seq, strings.Repeat(".", 930*int(seq-1)))
		if err := writer.Publish(ctx, testRecord(t, key, seq, text)); err != nil {
			t.Fatal(err)
		}
		if got := js.must("get", named); !got.Found || got.Seq != seq || got.Text != text {
			t.Errorf("they get %+v, want %d %q", got, seq, text)
		}
	}

	// Items of theirs, under another key, updated, with cas right and wrong.
	key = testKey(78)
	item := testRecord(t, key, 1, "")
	put := map[string]any{"seed": hex.EncodeToString(key.Seed()), "key": hex.EncodeToString(item.Key), "salt": recordSalt}
	for seq := 10; seq <= 12; seq++ {
		put["seq"], put["text"] = seq, fmt.Sprint("theirs ", seq)
		if seq == 12 {
			put["cas"] = 11
		}
		if got := js.must("put", put); got.Count == 0 {
			t.Fatalf("nobody took their item: %+v", got)
		}
		got, err := reader.Fetch(ctx, item.Key)
		if want := testRecord(t, key, int64(seq), fmt.Sprint("theirs ", seq)); err != nil || got.Seq != want.Seq || string(got.Value) != string(want.Value) {
			t.Errorf("we fetch %v, %v, want %v", got, err, want)
		}
	}
	put["seq"], put["cas"] = 13, 10
	if got := js.do("put", put); got.Error == "" && got.Count > 0 {
		t.Errorf("their wrong cas was taken: %+v", got)
	}
	// Our item again, with cas wrong and right, at everybody who stores it.
	item = testRecord(t, testKey(77), 3, "with cas")
	where := recordTarget(item.Key, []byte(recordSalt))
	for _, c := range []struct {
		cas  int64
		code int
	}{{1, codeCAS}, {2, 0}} {
		l := reader.first().newLookup(where)
		if err := reader.first().traverse(ctx, l, methodGet, krpc.MsgArgs{Target: krpc.ID(where)}, nil); err != nil {
			t.Fatal(err)
		}
		stores := 0
		for _, to := range l.writable() {
			if to.addr == writer.LocalAddr() {
				continue // serves its own record and stores none
			}
			stores++
			_, err := reader.first().insist(ctx, to.addr, methodPut, krpc.MsgArgs{
				V: bencode.Bytes(item.Value), K: [32]byte(item.Key), Salt: []byte(recordSalt),
				Seq: &item.Seq, Cas: c.cas, Sig: item.Sig, Token: to.token,
			}, true)
			var refused krpc.Error
			if errors.As(err, &refused); refused.Code != c.code || err != nil && c.code == 0 {
				t.Errorf("our put with cas %d at %v: %v, want code %d", c.cas, to.addr, err, c.code)
			}
		}
		if stores == 0 {
			t.Error("nobody stores our item")
		}
	}
}
