package nodeaddr

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxURL is the longest canonical URL, in bytes.
const MaxURL = 240

// URL is a node's URL in canonical form: scheme, host, port and path, each in
// its only spelling. The zero URL names nothing.
type URL struct {
	Scheme string // "wss" or "ws"
	Host   string // lower-case DNS name, or IP literal without brackets
	Port   uint16
	Path   string // "" or "/a/b", without a slash at the end
}

// ErrURL is wrapped by every error of Parse.
var ErrURL = errors.New("not a node URL")

func urlError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrURL, fmt.Sprintf(format, args...))
}

// Parse reads a node's URL and brings it into canonical form. It accepts
//
//   - wss://, and ws:// with allowPrivate;
//   - a host that is a DNS name of two labels or more, or a public IP
//     literal; with allowPrivate also one label, or an IP literal of a class
//     that is then allowed;
//   - port 443 or one of 1024 and above; 443 is what wss:// without a port
//     means;
//   - a path of segments of letters, digits, "-", ".", "_" and "~"
//
// and neither userinfo, query, fragment nor percent-encoding.
func Parse(s string, allowPrivate bool) (URL, error) {
	if len(s) > MaxURL {
		return URL{}, urlError("longer than %d bytes", MaxURL)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return URL{}, urlError("no scheme")
	}
	u := URL{Scheme: strings.ToLower(scheme)}
	switch {
	case u.Scheme == "wss":
		u.Port = 443
	case u.Scheme == "ws" && allowPrivate:
		u.Port = 80
	case u.Scheme == "ws":
		return URL{}, urlError("ws:// is for private networks, others need wss://")
	default:
		return URL{}, urlError("scheme is not wss")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if i := strings.IndexAny(rest, "@?#%\\"); i >= 0 {
		return URL{}, urlError("%q in it", rest[i])
	}
	host, port, err := splitPort(authority)
	if err != nil {
		return URL{}, err
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || port[0] == '0' || port[0] == '+' {
			return URL{}, urlError("bad port")
		}
		u.Port = uint16(n)
	}
	if u.Port != 443 && u.Port < 1024 {
		return URL{}, urlError("port %d: only 443 and ports from 1024 on are dialled", u.Port)
	}
	if u.Host, err = canonicalHost(host, allowPrivate); err != nil {
		return URL{}, err
	}
	if u.Path, err = canonicalPath(path); err != nil {
		return URL{}, err
	}
	if len(u.String()) > MaxURL {
		return URL{}, urlError("longer than %d bytes", MaxURL)
	}
	return u, nil
}

// String is the canonical form, "scheme://host:port/path".
func (u URL) String() string {
	return u.Scheme + "://" + u.HostPort() + u.Path
}

// HostPort is the address to dial, as net.JoinHostPort would write it.
func (u URL) HostPort() string {
	port := strconv.Itoa(int(u.Port))
	if strings.Contains(u.Host, ":") {
		return "[" + u.Host + "]:" + port
	}
	return u.Host + ":" + port
}

// Link is the canonical URL of the node's link endpoint: what a dialler
// connects to, and what both sides sign. path is the network's
// (derive.Network.LinkPath).
func (u URL) Link(path string) string { return u.String() + path }

// splitPort parts host and port. An IP literal comes back without brackets,
// its colons telling it from a name.
func splitPort(s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		literal, after, ok := strings.Cut(s[1:], "]")
		if !ok || !strings.Contains(literal, ":") {
			return "", "", urlError("bad IP literal")
		}
		if after == "" {
			return literal, "", nil
		}
		if after[0] != ':' || after == ":" {
			return "", "", urlError("bad port")
		}
		return literal, after[1:], nil
	}
	host, port, ok := strings.Cut(s, ":")
	if ok && port == "" {
		return "", "", urlError("bad port")
	}
	if strings.Contains(port, ":") {
		return "", "", urlError("an IPv6 literal needs brackets")
	}
	return host, port, nil
}

func canonicalHost(host string, allowPrivate bool) (string, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if c := Classify(a); !c.Allowed(allowPrivate) {
			return "", urlError("%s address", c)
		}
		return a.String(), nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || len(host) > 253 {
		return "", urlError("bad host name")
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return "", urlError("bad host name")
		}
		for i := range len(l) {
			if !alphanumeric(l[i]) && l[i] != '-' {
				return "", urlError("bad host name (an international one needs its xn-- form)")
			}
		}
	}
	// Resolvers of the C library read 127.1 and 0x7f000001 as addresses; a
	// top-level domain never begins with a digit.
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return "", urlError("bad host name")
	}
	if len(labels) == 1 && !allowPrivate {
		return "", urlError("host name without a domain")
	}
	return host, nil
}

func canonicalPath(path string) (string, error) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return "", nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", urlError("path is not in its shortest form")
		}
		for i := range len(segment) {
			if c := segment[i]; !alphanumeric(c) && (c < 'A' || c > 'Z') && strings.IndexByte("-._~", c) < 0 {
				return "", urlError("%q in the path", c)
			}
		}
	}
	return path, nil
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
