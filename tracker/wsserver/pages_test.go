package wsserver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// Case 46: the pages, as their consumers read them.
func TestStatsPages(t *testing.T) { onBoth(t, testStatsPages) }

func testStatsPages(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.HashList = true })
	a, b := in.dial("/"), in.dial("/")
	a.join(hash, pid("a"))
	a.join(hash2, pid("a"))
	b.send(strings.Replace(announce(hash, "-PM0203-00000000000b"), `"event"`, `"left":0,"event"`, 1))
	b.recvJSON()

	resp, body := in.get("GET", "/stats.json")
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "application/json" {
		t.Errorf("%s %s", resp.Status, ct)
	}
	// As bittorrent-tracker's consumers read it.
	var bt struct {
		Torrents, ActiveTorrents, PeersAll, PeersSeederOnly, PeersLeecherOnly *int
		PeersSeederAndLeecher, PeersIPv4, PeersIPv6                           *int
		Clients                                                               map[string]map[string]int
	}
	if err := json.Unmarshal([]byte(body), &bt); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  *int
		want int
	}{
		"torrents": {bt.Torrents, 2}, "activeTorrents": {bt.ActiveTorrents, 2}, "peersAll": {bt.PeersAll, 2},
		"peersSeederOnly": {bt.PeersSeederOnly, 1}, "peersLeecherOnly": {bt.PeersLeecherOnly, 1},
		"peersSeederAndLeecher": {bt.PeersSeederAndLeecher, 0}, "peersIPv4": {bt.PeersIPv4, 2}, "peersIPv6": {bt.PeersIPv6, 0},
	} {
		if c.got == nil || *c.got != c.want {
			t.Errorf("%s: want %d in %s", name, c.want, body)
		}
	}
	if bt.Clients["WebTorrent"]["2.8"] != 1 || bt.Clients["P2P Media Loader"]["2.3"] != 1 {
		t.Errorf("clients: %v", bt.Clients)
	}
	// As wt-tracker's do.
	var wt struct {
		TorrentsCount, PeersCount int
		Servers                   []struct {
			Server          string
			WebSocketsCount int
		}
		Memory                          map[string]float64
		PeersCountPerInfoHashPerTracker []map[string]int
	}
	if err := json.Unmarshal([]byte(body), &wt); err != nil {
		t.Fatal(err)
	}
	if wt.TorrentsCount != 2 || wt.PeersCount != 3 || len(wt.Servers) != 1 || wt.Servers[0].WebSocketsCount != 2 ||
		wt.Memory["heapUsed"] <= 0 || wt.Memory["rss"] <= 0 {
		t.Errorf("%s", body)
	}
	if l := wt.PeersCountPerInfoHashPerTracker; len(l) != 1 || l[0]["totalPeers"] != 3 || l[0][strings.Repeat("61", 20)] != 2 {
		t.Errorf("per hash: %v", l)
	}

	if resp, body := in.get("GET", "/stats", "Accept: application/json"); resp.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(body)) {
		t.Errorf("/stats for machines: %v", resp.Header)
	}
	if resp, body := in.get("GET", "/stats", "Accept: text/html"); !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") ||
		!strings.Contains(body, "2 torrents (2 active)") || !strings.Contains(body, "WebTorrent") {
		t.Errorf("/stats for people: %v %s", resp.Header, body)
	}
	if resp, body := in.get("GET", "/"); resp.StatusCode != 200 || !strings.Contains(body, "ws://tracker.example") {
		t.Errorf("/: %s %s", resp.Status, body)
	}
	if resp, body := in.get("GET", "/health"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("/health: %s %q", resp.Status, body)
	}
	for _, path := range []string{"/", "/health", "/stats", "/stats.json"} {
		if resp, body := in.get("HEAD", path); resp.StatusCode != 200 || body != "" {
			t.Errorf("HEAD %s: %s %q", path, resp.Status, body)
		}
		if resp, _ := in.get("POST", path); resp.StatusCode != 405 {
			t.Errorf("POST %s: %s", path, resp.Status)
		}
	}
	if resp, _ := in.get("GET", "/announce"); resp.StatusCode != 404 {
		t.Errorf("elsewhere: %s", resp.Status)
	}
}

func TestHashListIsOptIn(t *testing.T) { onBoth(t, testHashListIsOptIn) }

func testHashListIsOptIn(t *testing.T, e engine) {
	in := e.start(t, nil)
	in.dial("/").join(hash, pid("a"))
	if _, body := in.get("GET", "/stats.json"); strings.Contains(body, strings.Repeat("61", 20)) || strings.Contains(body, "PerInfoHash") {
		t.Errorf("%s", body)
	}
}

// The Host header is the reader's own, and must not become markup.
func TestHomeEscapes(t *testing.T) { onBoth(t, testHomeEscapes) }

func testHomeEscapes(t *testing.T, e engine) {
	in := e.start(t, nil)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = `x"><script>alert(1)</script>`
	in.srv.ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), "<script>") {
		t.Error("markup from the Host header")
	}
}

// What strangers call themselves takes bounded room.
func TestClientTallyIsBounded(t *testing.T) {
	tl := newTally()
	n := 0
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			for v := range 50 {
				tl.add(fmt.Sprintf("-%c%c%04d-xxxxxxxxxxxx", a, b, v))
				n++
			}
		}
	}
	sum := 0
	for name, versions := range tl.clients {
		if len(versions) > maxVersions+1 {
			t.Errorf("%s: %d versions", name, len(versions))
		}
		for _, k := range versions {
			sum += k
		}
	}
	if len(tl.clients) > maxClients+1 || sum != n {
		t.Errorf("%d clients, %d of %d peers", len(tl.clients), sum, n)
	}
	for id, want := range map[string]string{
		"-WW0208-abcdefghijkl": "WebTorrent 2.8", "-WW0110-abcdefghijkl": "WebTorrent 1.10", "-GT0003-abcdefghijkl": "anacrolix/torrent 0003",
		"-Zz1234-abcdefghijkl": "Zz 1234", "-qB4250-abcdefghijkl": "qBittorrent 4.2.5",
		"abcdefghijklmnopqrst": "unknown abcdefgh", "éééééééééé": "unknown éééééééé", "-<s>12-": "unknown -<s>12-", "": "unknown ",
	} {
		if name, v := clientOf(id); name+" "+v != want {
			t.Errorf("%q: %s %s, want %s", id, name, v, want)
		}
	}
}

// The reference tracker's tests read its page by lines: what comes before and
// after the first "torrents" counts as two, and each has one number, which no h
// or v may precede.
func TestStatsPageAsTheReferenceReadsIt(t *testing.T) { onBoth(t, testStatsPageAsTheReferenceReadsIt) }

func testStatsPageAsTheReferenceReadsIt(t *testing.T, e engine) {
	in := e.start(t, nil)
	in.dial("/").join(hash, pid("a"))
	_, body := in.get("GET", "/stats")
	var got []string
	number := regexp.MustCompile(`[^v^h](\d+)`)
	for line := range strings.Lines(strings.Replace(body, "torrents", "\n", 1)) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if m := number.FindStringSubmatch(line); m != nil {
			got = append(got, m[1])
		} else {
			got = append(got, "")
		}
	}
	want := []string{"1", "1", "1", "0", "1", "0", "1", "0"}
	if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		t.Errorf("read %q, want %q from\n%s", got, want, body)
	}
}

// A small server's numbers are those of this moment; a large one's are
// counted less often, so that nobody can keep it counting.
func TestStatsAge(t *testing.T) { onBoth(t, testStatsAge) }

func testStatsAge(t *testing.T, e engine) {
	in := e.start(t, nil)
	for i := range 3 {
		if _, body := in.get("GET", "/stats.json"); !strings.Contains(body, fmt.Sprintf(`"webSocketsCount":%d`, i)) {
			t.Errorf("with %d clients: %s", i, body)
		}
		in.dial("/").join(hash, pid(string(rune('a'+i))))
	}
	for took, want := range map[time.Duration]time.Duration{
		0: 0, summaryFree: 0, 2 * time.Millisecond: 100 * time.Millisecond, 100 * time.Millisecond: summaryAge,
		time.Second: 15 * time.Second,
	} {
		if got := maxAge(took); got != want {
			t.Errorf("what took %v may be %v old, want %v", took, got, want)
		}
	}
}

// While there are few, a connection may ask for page after page; of too many each
// gets one, so that nobody holds memory for answers that he does not read.
func TestPagesOfManyConnections(t *testing.T) { onBoth(t, testPagesOfManyConnections) }

func testPagesOfManyConnections(t *testing.T, e engine) {
	in := e.start(t, nil)
	var open []net.Conn
	ask := func() (closes bool) {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, nc)
		nc.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(nc, "GET /health HTTP/1.1\r\nHost: tracker.example\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		return resp.Close
	}
	for i := range maxKept {
		if ask() {
			t.Fatalf("connection %d gets no more than a page", i)
		}
	}
	if !ask() {
		t.Errorf("connection %d is kept", maxKept)
	}
	for _, nc := range open {
		nc.Close()
	}
	in.until("room again", func() bool { return !ask() })
	for _, nc := range open {
		nc.Close()
	}
	in.until("nobody counted", func() bool { return in.srv.visitors.Load() == 0 })
}
