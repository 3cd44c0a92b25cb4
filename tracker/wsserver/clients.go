package wsserver

// Client software is read from peer ids, which are whatever a client says, so
// only so many names and versions are told apart. An id that is not of the
// common form "-XXvvvv-" counts as unknown, by its first eight characters, as
// the reference tracker has it.
const (
	maxClients  = 64
	maxVersions = 32 // of one client
	otherClient = "unknown"
)

type tally struct {
	clients map[string]map[string]int
}

func newTally() *tally { return &tally{clients: make(map[string]map[string]int)} }

func (t *tally) add(peerID string) {
	name, version := clientOf(peerID)
	versions := t.clients[name]
	if versions == nil {
		if len(t.clients) >= maxClients {
			name, version = otherClient, ""
			versions = t.clients[name]
		}
		if versions == nil {
			versions = make(map[string]int)
			t.clients[name] = versions
		}
	}
	if _, known := versions[version]; !known && len(versions) >= maxVersions {
		version = "other"
	}
	versions[version]++
}

// clientOf reads "-WW0208-…" as WebTorrent 2.8.
func clientOf(peerID string) (name, version string) {
	if len(peerID) < 8 || peerID[0] != '-' || peerID[7] != '-' {
		return otherClient, first(peerID, 8)
	}
	for _, c := range []byte(peerID[1:7]) {
		if !alphanumeric(c) {
			return otherClient, first(peerID, 8)
		}
	}
	code, v := peerID[1:3], peerID[3:7]
	switch code {
	case "WW":
		return "WebTorrent", majorMinor(v)
	case "WD":
		return "WebTorrent Desktop", majorMinor(v)
	case "PM":
		return "P2P Media Loader", majorMinor(v)
	case "GT":
		return "anacrolix/torrent", v
	case "LT", "lt":
		return "libtorrent", v
	case "BI":
		return "BiglyBT", v
	case "qB":
		return "qBittorrent", v[:1] + "." + v[1:2] + "." + v[2:3]
	case "TR":
		return "Transmission", v
	case "DE":
		return "Deluge", v
	case "UW":
		return "µTorrent Web", v
	}
	return code, v
}

// majorMinor reads two digits of each: "0208" is 2.8.
func majorMinor(v string) string { return trimZero(v[:2]) + "." + trimZero(v[2:]) }

func trimZero(s string) string {
	if s[0] == '0' {
		return s[1:]
	}
	return s
}

// first is the first n characters of s.
func first(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
