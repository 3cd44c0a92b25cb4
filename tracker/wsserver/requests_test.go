package wsserver

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

const goodRequest = "GET /announce HTTP/1.1\r\nHost: tracker.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"

// goodAccept is the answer to the key in goodRequest.
const goodAccept = "Bz3qJYTGdOe8gUSpLosEdiLKDrk="

// requestServers are servers on each engine that end what does not go on.
func requestServers(t testing.TB) map[string]*instance {
	list := map[string]*instance{}
	for _, e := range testEngines() {
		list[e] = engine(e).start(t, func(c *Config, _ *tracker.Config) {
			c.Echo = true
			c.Paths = []string{"/announce", "/with/{token}"}
			c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s %q %v", r.Method, r.URL.Path, b, err)
			})
		})
	}
	return list
}

// reply sends raw bytes, ends the stream, and describes what comes back: status
// lines and bodies, or frames after an upgrade.
func (in *instance) reply(t testing.TB, raw string) string {
	t.Helper()
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, raw)
	nc.(*net.TCPConn).CloseWrite()
	br := bufio.NewReader(nc)
	var said []string
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: "GET"})
		if isTimeout(err) {
			return strings.Join(append(said, "timeout"), "; ")
		}
		if err != nil {
			return strings.Join(append(said, "end"), "; ")
		}
		what := fmt.Sprint(resp.StatusCode)
		if resp.StatusCode == http.StatusSwitchingProtocols {
			if resp.Header.Get("Sec-Websocket-Accept") == "" || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
				what += fmt.Sprint(" without what it takes: ", resp.Header)
			}
			return strings.Join(append(said, what), "; ")
		}
		body, _ := io.ReadAll(resp.Body)
		said = append(said, fmt.Sprintf("%s %q close=%t", what, body, resp.Close))
	}
}

// alike reports whether the engines say the same. A loop has no words for a
// client that goes away within the first head; net/http has.
func alike(raw, a, b string) bool {
	if !strings.Contains(raw, "\n\r\n") && !strings.Contains(raw, "\n\n") {
		const gone = `400 "400 Bad Request" close=true; end`
		return a == b || a == gone && b == "end" || b == gone && a == "end"
	}
	return a == b
}

// Requests as they should not be: what the engines make of them is the same,
// and for some of them what it is. net/http stands behind both; a loop
// answers only what is beyond doubt.
func TestOddRequests(t *testing.T) {
	servers := requestServers(t)
	with := func(old, new string) string { return strings.Replace(goodRequest, old, new, 1) }
	header := func(lines ...string) string { return with("\r\n\r\n", "\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n") }
	page := "GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct{ raw, want string }{
		"as it should be":              {goodRequest, "101"},
		"a token in the path":          {with("/announce", "/with/me"), "101"},
		"another path":                 {with("/announce", "/elsewhere"), "404"},
		"names in small letters":       {strings.ToLower(goodRequest[:40]) + goodRequest[40:], ""},
		"header names in capitals":     {with("Upgrade: websocket", "UPGRADE: WebSocket"), "101"},
		"a list of connections":        {with("Connection: Upgrade", "Connection: keep-alive, upgrade"), "101"},
		"two Connection headers":       {with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"), ""},
		"two Upgrade headers":          {with("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"), ""},
		"a list of upgrades":           {with("Upgrade: websocket", "Upgrade: h2c, websocket"), ""},
		"two keys":                     {header("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), ""},
		"two versions":                 {header("Sec-WebSocket-Version: 8"), ""},
		"no key":                       {with("Sec-WebSocket-Key", "X-Key"), "400"},
		"a key too short":              {with("AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0O"), "400"},
		"version 8":                    {with("13", "8"), "426"},
		"HTTP/1.0":                     {with("HTTP/1.1", "HTTP/1.0"), "505"},
		"HTTP/0.9":                     {"GET /announce\r\n\r\n", "400"},
		"HTTP/2.0":                     {with("HTTP/1.1", "HTTP/2.0"), "505"},
		"HTTP/1.2":                     {with("HTTP/1.1", "HTTP/1.2"), ""},
		"the HTTP/2 preface":           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		"no host":                      {with("Host: tracker.example\r\n", ""), "400"},
		"an empty host":                {with("tracker.example", ""), ""},
		"two hosts":                    {header("Host: other.example"), "400"},
		"a host with a slash":          {with("tracker.example", "a/b"), ""},
		"a host with a blank":          {with("tracker.example", "a b"), "400"},
		"a host of an IPv6 address":    {with("tracker.example", "[::1]:8000"), "101"},
		"an absolute target":           {with("/announce", "http://other.example/announce"), "101"},
		"an absolute target, no path":  {with("/announce", "http://other.example"), ""},
		"an authority as target":       {with("/announce", "other.example:80"), ""},
		"a star as target":             {with("/announce", "*"), ""},
		"two slashes":                  {with("/announce", "//announce"), ""},
		"dots":                         {with("/announce", "/x/../announce"), ""},
		"an escaped path":              {with("/announce", "/%61nnounce"), "101"},
		"a broken escape":              {with("/announce", "/%6"), "400"},
		"a fragment":                   {with("/announce", "/announce#x"), ""},
		"a query":                      {with("/announce", "/announce?token=1&x=%zz;y"), "101"},
		"a target with a blank":        {with("/announce", "/an nounce"), "400"},
		"a target with a zero byte":    {with("/announce", "/announce\x00"), "400"},
		"a target beyond ASCII":        {with("/announce", "/annöunce"), ""},
		"POST":                         {with("GET", "POST"), "405"},
		"get":                          {with("GET", "get"), ""},
		"CONNECT":                      {with("GET", "CONNECT"), ""},
		"HEAD":                         {with("GET", "HEAD"), ""},
		"folded":                       {with("Upgrade: websocket", "Upgrade:\r\n websocket"), ""},
		"folded by a tab":              {with("Connection: Upgrade", "Connection: keep-alive,\r\n\tUpgrade"), ""},
		"a blank before the colon":     {header("X-A : b"), "400"},
		"a blank before the first":     {with("Host:", " Host:"), "400"},
		"no colon":                     {header("X-A"), "400"},
		"an empty name":                {header(": b"), "400"},
		"a name beyond ASCII":          {header("X-Ä: b"), "400"},
		"a value with a zero byte":     {header("X-A: b\x00c"), "400"},
		"a value beyond ASCII":         {header("X-A: \xff\xe4"), "101"},
		"a carriage return in a value": {header("X-A: b\rc"), ""},
		"lines end in LF":              {strings.ReplaceAll(goodRequest, "\r\n", "\n"), "101"},
		"some lines end in LF":         {with("Host: tracker.example\r\n", "Host: tracker.example\n"), "101"},
		"the last line ends in LF":     {goodRequest[:len(goodRequest)-2] + "\n", "101"},
		"the last header ends in LF":   {goodRequest[:len(goodRequest)-4] + "\n\r\n", "101"},
		"empty lines in front":         {"\r\n\r\n" + goodRequest, ""},
		"a body of no length":          {header("Content-Length: 0"), "101"},
		"a body":                       {header("Content-Length: 5") + "hello", ""},
		"two lengths":                  {header("Content-Length: 5", "Content-Length: 6") + "hello", "400"},
		"two lengths alike":            {header("Content-Length: 0", "Content-Length: 0"), ""},
		"a list of lengths":            {header("Content-Length: 0, 0"), ""},
		"a negative length":            {header("Content-Length: -1"), "400"},
		"a length with a sign":         {header("Content-Length: +5") + "hello", "400"},
		"a length beyond numbers":      {header("Content-Length: 99999999999999999999"), "400"},
		"chunked":                      {header("Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", ""},
		"chunked, with a length":       {header("Transfer-Encoding: chunked", "Content-Length: 3") + "0\r\n\r\n" + page, ""},
		"chunked by another name":      {header("Transfer-Encoding: xchunked"), "501"},
		"chunked twice":                {header("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), ""},
		"chunked by a tab":             {header("Transfer-Encoding:\tchunked") + "0\r\n\r\n", ""},
		"chunked, hidden":              {header("Transfer-Encoding : chunked") + "0\r\n\r\n", "400"},
		"expecting":                    {header("Expect: 100-continue"), ""},
		"expecting more":               {header("Expect: the unexpected"), "417"},
		"15 KiB of a header":           {header("X-A: " + strings.Repeat("x", 15<<10)), "101"},
		"16 KiB in all":                {header("X-A: " + strings.Repeat("x", 16<<10-len(goodRequest)-7)), "101"},
		"a little more":                {header("X-A: " + strings.Repeat("x", 17<<10)), ""},
		"much more":                    {header("X-A: " + strings.Repeat("x", 30<<10)), "431"},
		"without end":                  {"GET / HTTP/1.1\r\n" + strings.Repeat("X-A: b\r\n", 10_000), "431"},
		"a line without end":           {"GET /" + strings.Repeat("x", 64<<10), "431"},
		"a thousand headers":           {header(strings.Repeat("X: y\r\n", 1000) + "X: z"), ""},
		"a page, then an upgrade":      {page + goodRequest, `200 "GET /page \"\" <nil>" close=false; 101`},
		"three pages":                  {page + page + page, ""},
		"a page in a page":             {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n" + page, `200 "POST /a`},
		"a page after a chunked one":   {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + goodRequest, `200 "POST /a \"\" <nil>" close=false; 101`},
		"two requests in one":          {with("/announce", "/elsewhere") + goodRequest, "404"},
		"no request":                   {"", "end"},
		"half a request":               {goodRequest[:100], ""},
		"all but the last byte":        {goodRequest[:len(goodRequest)-1], ""},
		"garbage":                      {"\x00\x01\x02\x03\r\n\r\n", "400"},
		"frames without a request":     {string(frame(fin|opText, []byte("hello"))), ""},
		"SSH":                          {"SSH-2.0-OpenSSH_9.9\r\n", ""},
		"a TLS record without TLS":     {"\x16\x03\x01\x00\x05hello", ""},
		"a PROXY header of nobody":     {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + goodRequest, "400"},
	} {
		first := ""
		for e, in := range servers {
			got := in.reply(t, c.raw)
			if first == "" {
				first = got
			}
			if !alike(c.raw, got, first) || !strings.HasPrefix(got, c.want) || strings.Contains(got, "timeout") {
				t.Errorf("%s: %s says %s; want %s like the other, %s", name, e, got, c.want, first)
			}
		}
	}
}

// Requests with a few bytes changed: the engines agree.
func TestMutatedRequests(t *testing.T) {
	servers := requestServers(t)
	rounds := 1500
	if raceEnabled {
		rounds = 300
	}
	count := map[string]int{}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 4))
		raw := mutate(rng, goodRequest)
		first := ""
		for e, in := range servers {
			got := in.reply(t, raw)
			if first == "" {
				first = got
				count[got[:3]]++
			}
			if !alike(raw, got, first) || strings.Contains(got, "timeout") {
				t.Fatalf("seed %d: %s says %s, not %s, to %q", seed, e, got, first, raw)
			}
		}
	}
	if count["101"] < rounds/20 || count["400"] < rounds/20 {
		t.Errorf("%v", count)
	}
}

// mutate changes some of a text.
func mutate(rng *rand.Rand, s string) string {
	b := []byte(s)
	for range rng.IntN(3) + 1 {
		at := rng.IntN(len(b))
		switch rng.IntN(6) {
		case 0:
			b[at] = byte(rng.Uint32())
		case 1:
			b[at] = "\r\n \t:,;/"[rng.IntN(8)]
		case 2:
			b = append(b[:at], b[at+1:]...)
		case 3:
			b = append(b[:at], append([]byte{"\r\n \t:,;/\x00Aa1"[rng.IntN(12)]}, b[at:]...)...)
		case 4: // a part of it once more
			to := min(at+rng.IntN(60), len(b))
			b = append(b[:to], append([]byte(string(b[at:to])), b[to:]...)...)
		case 5:
			b[at] ^= 0x20
		}
	}
	return string(b)
}

// FuzzRequests: whatever a socket begins with, the engines say the same.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(goodRequest))
	f.Add([]byte("GET /page HTTP/1.1\r\nHost: x\r\n\r\n" + goodRequest))
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	servers := requestServers(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		first := ""
		for e, in := range servers {
			got := in.reply(t, string(raw))
			if first == "" {
				first = got
			}
			if !alike(string(raw), got, first) {
				t.Fatalf("%s says %s, not %s", e, got, first)
			}
		}
	})
}

// What comes right behind the request, or in the middle of it, is not lost.
func TestPipelinedBehindRequest(t *testing.T) { onBoth(t, testPipelinedBehindRequest) }

func testPipelinedBehindRequest(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.Echo = true })
	for _, n := range []int{0, 10, 100, 1400, 5000, 60_000, 250_000} {
		text := strings.Repeat("x", n)
		raw := goodRequest + string(frame(fin|opText, []byte(text))) + string(frame(fin|opPing, []byte("p"))) + string(frame(fin|opClose, closeBody(1000, "")))
		for _, cut := range []int{len(raw), 1, len(goodRequest) - 1, len(goodRequest), len(goodRequest) + 1, len(goodRequest) + 7, len(raw) - 3} {
			nc, err := net.Dial("tcp", in.addr)
			if err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(patience))
			io.WriteString(nc, raw[:cut])
			if cut == len(goodRequest)+7 {
				nc.(*net.TCPConn).SetNoDelay(true)
			}
			go io.WriteString(nc, raw[cut:])
			br := bufio.NewReader(nc)
			resp, err := http.ReadResponse(br, &http.Request{Method: "GET"})
			if err != nil || resp.Header.Get("Sec-Websocket-Accept") != goodAccept {
				t.Fatalf("%d bytes, cut at %d: %v, %v", n, cut, resp, err)
			}
			cl := &client{t: t, nc: nc, br: br}
			if got := cl.recv(); string(got) != text {
				t.Errorf("%d bytes, cut at %d: %d bytes", n, cut, len(got))
			}
			cl.expectClose(1000)
			nc.Close()
		}
	}
}
