// Package access says who may announce what: info hashes that are allowed or
// denied, origins of web pages, tokens, and a hook for whatever an embedding
// program wants besides.
//
// Rules are looked up without a lock and replaced as a whole, so an operator
// may edit the files and reload while announces run: each announce is judged
// by the old rules or by the new ones, never by a mixture, and a file that
// cannot be read leaves the old rules in force.
//
// Rules apply to announces. They never apply to answers: clients send answers
// without the parameters that they send with announces, a token among them,
// and an answer is authorised by the offer it answers. A scrape of a refused
// info hash shows zeros, as one of an unknown info hash does.
//
// A refusal never closes a connection and never counts against an address: a
// page that knows of one torrent that this tracker does not serve may hold
// viewers of ten that it does.
package access

import (
	"crypto/sha256"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/draeder/peerservers/tracker/wire"
)

// Config is where rules come from. The zero value allows everything.
type Config struct {
	// AllowHashes names a file of info hashes, 40 hex digits a line, text
	// after # ignored. With it, no other info hash may be announced. An info
	// hash that is not 20 bytes is listed by the SHA-1 of its UTF-8.
	AllowHashes string
	// DenyHashes names a file of the same form. It outranks AllowHashes.
	DenyHashes string
	// AllowOrigins, unless empty, are the only origins ("https://example.org",
	// or "null") whose pages may connect. Clients that are no browsers send
	// no origin: see DenyEmptyOrigin.
	AllowOrigins []string
	// DenyOrigins outranks AllowOrigins.
	DenyOrigins []string
	// DenyEmptyOrigin refuses connections that name no origin.
	DenyEmptyOrigin bool
	// Tokens names a file of tokens, one a line. With it, an announce must
	// carry one of them in its "token" member, or its connection must have
	// brought one in its URL.
	Tokens string
	// Hook is asked last, for each announce that the other rules allow, from
	// many goroutines at once. Text is a refusal and goes to the client; the
	// empty string allows. It must not block and must not keep the request.
	Hook func(*Request) string
}

// Request is an announce as the rules see it.
type Request struct {
	InfoHash []byte // decoded
	PeerID   []byte // decoded
	Token    []byte // of the announce
	// ConnToken is the token of the URL that the connection was opened with.
	ConnToken string
	Origin    string
	Path      string
}

// Verdict is the outcome for one announce.
type Verdict uint8

const (
	Allowed Verdict = iota
	// NotListed: there is a list of allowed info hashes, without this one.
	NotListed
	// Denied: the info hash is on the list of denied ones.
	Denied
	// NoToken: a token is needed and none was given.
	NoToken
	// BadToken: the token given is not known.
	BadToken
	// Refused by the hook.
	Refused

	// NumVerdicts is for arrays of counters.
	NumVerdicts
)

// String is the verdict's label in counters.
func (v Verdict) String() string {
	switch v {
	case Allowed:
		return "allowed"
	case NotListed:
		return "not_listed"
	case Denied:
		return "denied"
	case NoToken:
		return "no_token"
	case BadToken:
		return "bad_token"
	case Refused:
		return "hook"
	}
	return "unknown"
}

// reason is what the client is told. A hash that is denied and one that is not
// listed read alike: the lists are the operator's business.
func (v Verdict) reason() string {
	switch v {
	case NotListed, Denied:
		return "info hash not allowed"
	case NoToken:
		return "token required"
	case BadToken:
		return "token not accepted"
	}
	return ""
}

// Policy is a set of rules that can be replaced while in use. A nil Policy
// allows everything.
type Policy struct {
	rules atomic.Pointer[rules]
}

// rules are immutable once published.
type rules struct {
	cfg          Config
	allow, deny  hashSet
	listed       bool // allow is in force, be it empty
	tokens       map[[sha256.Size]byte]struct{}
	allowOrigins map[string]struct{}
	denyOrigins  map[string]struct{}
}

// New reads the files that cfg names.
func New(cfg Config) (*Policy, error) {
	p := new(Policy)
	if err := p.Set(cfg); err != nil {
		return nil, err
	}
	return p, nil
}

// Set replaces the rules by those of cfg, or returns an error and leaves them.
func (p *Policy) Set(cfg Config) error {
	r, err := load(cfg)
	if err != nil {
		return err
	}
	p.rules.Store(r)
	return nil
}

// Reload reads the files again. After an error the former rules stay.
func (p *Policy) Reload() error {
	if p == nil {
		return nil
	}
	r := p.rules.Load()
	if r == nil {
		return errors.New("access: policy was not made by New")
	}
	return p.Set(r.cfg)
}

// Announce judges one announce; text is for the client unless allowed.
func (p *Policy) Announce(q *Request) (v Verdict, text string) {
	r := p.current()
	if r == nil {
		return Allowed, ""
	}
	if v = r.hash(q.InfoHash); v == Allowed {
		v = r.token(q)
	}
	if v != Allowed {
		return v, v.reason()
	}
	if r.cfg.Hook != nil {
		if text = r.cfg.Hook(q); text != "" {
			return Refused, text
		}
	}
	return Allowed, ""
}

// Hash reports whether the lists allow an info hash, tokens and hook aside:
// whether a scrape may show it.
func (p *Policy) Hash(infoHash []byte) bool {
	r := p.current()
	return r == nil || r.hash(infoHash) == Allowed
}

// Origin reports whether a connection with this Origin header (empty for
// none) may be opened.
func (p *Policy) Origin(origin string) bool {
	r := p.current()
	if r == nil {
		return true
	}
	if origin == "" {
		return !r.cfg.DenyEmptyOrigin
	}
	if len(r.denyOrigins) == 0 && len(r.allowOrigins) == 0 {
		return true
	}
	origin = normalOrigin(origin)
	if _, denied := r.denyOrigins[origin]; denied {
		return false
	}
	if len(r.allowOrigins) == 0 {
		return true
	}
	_, ok := r.allowOrigins[origin]
	return ok
}

func (p *Policy) current() *rules {
	if p == nil {
		return nil
	}
	return p.rules.Load()
}

func (r *rules) hash(infoHash []byte) Verdict {
	if !r.listed && len(r.deny) == 0 {
		return Allowed
	}
	h := wire.Raw20(infoHash)
	if r.deny.has(h) {
		return Denied
	}
	if r.listed && !r.allow.has(h) {
		return NotListed
	}
	return Allowed
}

// token compares digests, so that the time it takes says nothing about how
// much of a guess was right.
func (r *rules) token(q *Request) Verdict {
	if r.tokens == nil {
		return Allowed
	}
	v := NoToken
	if len(q.Token) > 0 {
		if _, ok := r.tokens[sha256.Sum256(q.Token)]; ok {
			return Allowed
		}
		v = BadToken
	}
	if q.ConnToken != "" {
		if _, ok := r.tokens[sha256.Sum256([]byte(q.ConnToken))]; ok {
			return Allowed
		}
		v = BadToken
	}
	return v
}

// normalOrigin makes origins comparable: scheme and host are lower case in
// every browser, but people who write lists are free.
func normalOrigin(s string) string { return strings.TrimSuffix(strings.ToLower(s), "/") }
