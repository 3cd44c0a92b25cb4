package wsserver

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
)

// maxKept is how many connections may be there for pages until each gets no more
// than one. A page fits into the kernel's buffer, so that who does not read it is
// gone with it; but of many requests at once the answers do not, and each client
// that sends them and reads nothing would hold some 100 KiB until its time is up.
const maxKept = 256

// ServeHTTP serves one request: a WebSocket on any path, or a page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if wantsWebSocket(r) {
		s.upgrade(w, r)
		return
	}
	h := w.Header()
	if s.visitors.Load() > maxKept {
		h.Set("Connection", "close")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	var page func(http.ResponseWriter, *http.Request)
	switch r.URL.Path {
	case "/":
		page = s.home
	case "/health":
		page = s.health
	case "/stats":
		page = s.statsPage
		if acceptsJSON(r) {
			page = s.statsJSON
		}
	case "/stats.json":
		page = s.statsJSON
	default:
		s.cfg.Pages.ServeHTTP(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	page(w, r)
}

// acceptsJSON reports whether the request names JSON in its Accept header, as
// consumers of the reference server's /stats do.
func acceptsJSON(r *http.Request) bool {
	for _, v := range r.Header["Accept"] {
		if strings.Contains(v, "application/json") {
			return true
		}
	}
	return false
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if s.Draining() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok\n"))
}

func (s *Server) statsJSON(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(s.statsDocument())
	if err != nil { // maps and numbers: it cannot
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	// Counts are public, and pages of others show them.
	h.Set("Access-Control-Allow-Origin", "*")
	w.Write(body)
}

func (s *Server) statsPage(w http.ResponseWriter, _ *http.Request) {
	s.render(w, statsTemplate(), s.statsDocument())
}

// home tells a person who opened the tracker's URL in a browser what it is.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	scheme := "ws"
	if s.secure(r) {
		scheme = "wss"
	}
	path := ""
	if len(s.cfg.Paths) > 0 {
		path = s.cfg.Paths[0]
	}
	note := ""
	if s.cfg.Note != nil {
		note = s.cfg.Note()
	}
	sum := s.summarise()
	s.render(w, homeTemplate(), map[string]any{
		"URL": scheme + "://" + r.Host + path, "Swarms": sum.swarms, "Peers": sum.peers, "Note": note,
	})
}

func (s *Server) render(w http.ResponseWriter, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		s.cfg.Log.Error("page", "template", t.Name(), "err", err)
		http.Error(w, "cannot show this page", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b.Bytes())
}

// Templates are parsed when a page is shown: a few microseconds for a page that
// people look at, against globals.
func homeTemplate() *template.Template {
	return template.Must(template.New("home").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>WebTorrent tracker</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em}</style>
<h1>WebTorrent tracker</h1>
<p>This server introduces WebTorrent clients to each other. To use it, add this tracker to a torrent:</p>
<p><code>{{.URL}}</code></p>
<p>It now knows {{.Swarms}} swarms with {{.Peers}} peers. More numbers: <a href="/stats">/stats</a>.</p>
{{with .Note}}<p>{{.}}</p>
{{end}}<p>It runs <a href="https://github.com/draeder/peerservers">peerservers</a>.</p>
</html>
`))
}

// The reference tracker's own reader of this page goes by lines: the first has
// the counts of torrents and no other number, and so on. The charset, which
// would be one, is in the header.
func statsTemplate() *template.Template {
	return template.Must(template.New("stats").Parse(`<!doctype html><html lang="en"><title>Tracker statistics</title><h1>{{.Torrents}} torrents ({{.ActiveTorrents}} active)</h1>
<h2>Connected Peers: {{.PeersAll}}</h2>
<h3>Peers Seeding Only: {{.PeersSeederOnly}}</h3>
<h3>Peers Leeching Only: {{.PeersLeecherOnly}}</h3>
<h3>Peers Seeding &amp; Leeching: {{.PeersSeederAndLeecher}}</h3>
<h3>IPv4 Peers: {{.PeersIPv4}}</h3>
<h3>IPv6 Peers: {{.PeersIPv6}}</h3>
<h3>Clients:</h3>
<ul>{{range $name, $versions := .Clients}}{{range $version, $n := $versions}}
<li><strong>{{$name}}</strong> {{$version}} : {{$n}}</li>{{end}}{{end}}
</ul>
</html>
`))
}
