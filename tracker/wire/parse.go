package wire

import "bytes"

const (
	// maxOfferID is the longest offer_id in bytes of raw JSON: 20 bytes of
	// which each is escaped take 122.
	maxOfferID = 256
	// maxToken is the longest token in bytes, decoded.
	maxToken = 256
	// maxEscape is the most bytes of JSON that one code point takes: two
	// escaped surrogates.
	maxEscape = 12
)

// Parser parses frames, one after the other. It keeps its scratch, and with
// it a hold on the last frame, from one call to the next; it is not safe for
// concurrent use.
type Parser struct {
	limits  Limits
	scratch []byte
	offers  []Offer
	scrape  [][]byte
}

// NewParser returns a parser that accepts what is within l.
func NewParser(l Limits) *Parser {
	return &Parser{limits: l.orDefault()}
}

// members are the values of a frame's members that mean something here, as
// raw JSON; nil where the frame has none. Of several with one name the last
// counts, as in JavaScript. Nothing is decoded before it is known to be that
// one, so that repetition costs no more than other text of its length.
type members struct {
	action, infoHash, peerID, toPeerID []byte
	event, left, numWant, token        []byte
	answer, offerID                    []byte
	answerOK                           bool // answer is an object with a string sdp
}

// Parse reads one frame, which may be any bytes, into r, and says what is
// wrong with it. After a fault only r.Action and r.InfoHash mean anything:
// they are what the failure frame must carry, as far as they are known.
func (p *Parser) Parse(frame []byte, r *Request) Fault {
	*r = Request{NumWant: -1}
	p.scratch = p.scratch[:0]
	p.offers = p.offers[:0]
	p.scrape = p.scrape[:0]

	s := scanner{buf: frame, max: p.limits.MaxDepth}
	var m members
	if f := p.scan(&s, &m); f != FaultNone {
		return f
	}
	switch {
	case isString(m.action, "announce"):
		r.Action = ActionAnnounce
	case isString(m.action, "scrape"):
		r.Action = ActionScrape
		return p.readScrape(&m, r)
	}
	if m.answer != nil && !isNull(m.answer) {
		return p.readAnswer(&m, r)
	}
	return p.readAnnounce(&m, r)
}

// scan walks the whole frame and finds its members.
func (p *Parser) scan(s *scanner, m *members) Fault {
	s.pos = space(s.buf, 0)
	if s.pos == len(s.buf) {
		return FaultSyntax
	}
	object := s.buf[s.pos] == '{'
	if object {
		if f := p.scanFrame(s, m); f != FaultNone {
			return f
		}
	} else if f := s.skip(); f != FaultNone {
		return f
	}
	if space(s.buf, s.pos) != len(s.buf) {
		return FaultSyntax
	}
	if !object {
		return FaultNotObject
	}
	return FaultNone
}

func (p *Parser) scanFrame(s *scanner, m *members) Fault {
	if f := s.enter(); f != FaultNone {
		return f
	}
	for first := true; ; first = false {
		name, more, f := s.member(first)
		if f != FaultNone || !more {
			return f
		}
		switch string(name) {
		case "action":
			m.action, f = s.value()
		case "info_hash":
			m.infoHash, f = s.value()
		case "peer_id":
			m.peerID, f = s.value()
		case "to_peer_id":
			m.toPeerID, f = s.value()
		case "event":
			m.event, f = s.value()
		case "left":
			m.left, f = s.value()
		case "numwant":
			m.numWant, f = s.value()
		case "token":
			m.token, f = s.value()
		case "offer_id":
			m.offerID, f = s.value()
		case "answer":
			m.answer, m.answerOK, f = scanPayload(s)
		case "offers":
			f = p.scanOffers(s)
		default:
			f = s.skip()
		}
		if f != FaultNone {
			return f
		}
	}
}

// scanOffers collects the usable elements of an announce's offers and passes
// over the others: a client that sends one bad offer still gets to use the
// rest. Anything but an array counts as no offers.
func (p *Parser) scanOffers(s *scanner) Fault {
	p.offers = p.offers[:0]
	if s.pos >= len(s.buf) || s.buf[s.pos] != '[' {
		return s.skip()
	}
	if f := s.enter(); f != FaultNone {
		return f
	}
	for first := true; ; first = false {
		more, f := s.element(first)
		if f != FaultNone || !more {
			return f
		}
		if len(p.offers) == p.limits.MaxOffers || s.pos >= len(s.buf) || s.buf[s.pos] != '{' {
			f = s.skip()
		} else {
			f = p.scanOffer(s)
		}
		if f != FaultNone {
			return f
		}
	}
}

func (p *Parser) scanOffer(s *scanner) Fault {
	if f := s.enter(); f != FaultNone {
		return f
	}
	var (
		o  Offer
		ok bool
	)
	for first := true; ; first = false {
		name, more, f := s.member(first)
		if f != FaultNone {
			return f
		}
		if !more {
			break
		}
		switch string(name) {
		case "offer":
			o.Payload, ok, f = scanPayload(s)
		case "offer_id":
			o.ID, f = s.value()
		default:
			f = s.skip()
		}
		if f != FaultNone {
			return f
		}
	}
	if ok && len(o.Payload) <= p.limits.MaxSDP && usableOfferID(o.ID) {
		p.offers = append(p.offers, o)
	}
	return FaultNone
}

// scanPayload passes over an offer or an answer and reports whether it is an
// object with a string sdp. What the string says is the clients' business:
// some encrypt it.
func scanPayload(s *scanner) (raw []byte, ok bool, f Fault) {
	if s.pos >= len(s.buf) || s.buf[s.pos] != '{' {
		raw, f = s.value()
		return raw, false, f
	}
	start := s.pos
	if f := s.enter(); f != FaultNone {
		return nil, false, f
	}
	for first := true; ; first = false {
		name, more, f := s.member(first)
		if f != FaultNone {
			return nil, false, f
		}
		if !more {
			return s.buf[start:s.pos], ok, FaultNone
		}
		if string(name) == "sdp" {
			ok = s.pos < len(s.buf) && s.buf[s.pos] == '"'
		}
		if f := s.skip(); f != FaultNone {
			return nil, false, f
		}
	}
}

func (p *Parser) readAnnounce(m *members, r *Request) Fault {
	var known bool
	r.InfoHash, known = p.id(m.infoHash)
	if r.Action != ActionAnnounce {
		return FaultAction
	}
	if !known {
		return FaultInfoHash
	}
	var ok bool
	if r.PeerID, ok = p.id(m.peerID); !ok {
		return FaultPeerID
	}
	r.Event = readEvent(m.event)
	r.Left = readLeft(m.left)
	r.NumWant = readNumWant(m.numWant)
	if token, ok := p.text(m.token, maxToken); ok && len(token) <= maxToken {
		r.Token = token
	}
	for i := range p.offers {
		p.offers[i].Key = p.offerKey(p.offers[i].ID)
	}
	r.Offers = p.offers
	return FaultNone
}

// readAnswer reads an announce that carries an answer, whatever else it
// carries.
func (p *Parser) readAnswer(m *members, r *Request) Fault {
	if r.Action != ActionAnnounce || !m.answerOK || len(m.answer) > p.limits.MaxSDP {
		return FaultBadAnswer
	}
	var hash, peer, to bool
	r.InfoHash, hash = p.id(m.infoHash)
	r.PeerID, peer = p.id(m.peerID)
	r.ToPeerID, to = p.id(m.toPeerID)
	if !hash || !peer || !to || !usableOfferID(m.offerID) {
		return FaultAnswerID
	}
	r.Answer = m.answer
	r.OfferID = m.offerID
	r.OfferKey = p.offerKey(m.offerID)
	return FaultNone
}

func (p *Parser) readScrape(m *members, r *Request) Fault {
	switch {
	case m.infoHash == nil || isNull(m.infoHash):
		r.ScrapeAll = true
		return FaultNone
	case m.infoHash[0] != '[':
		id, ok := p.id(m.infoHash)
		if !ok {
			return FaultInfoHash
		}
		p.scrape = append(p.scrape, id)
	default:
		// The list was scanned with the frame; this finds its elements.
		s := scanner{buf: m.infoHash, max: maxDepth}
		s.enter()
		for first := true; ; first = false {
			if more, _ := s.element(first); !more {
				break
			}
			if len(p.scrape) == p.limits.MaxScrape {
				return FaultScrapeLimit
			}
			raw, _ := s.value()
			id, ok := p.id(raw)
			if !ok {
				return FaultInfoHash
			}
			p.scrape = append(p.scrape, id)
		}
	}
	r.Scrape = p.scrape
	return FaultNone
}

// id decodes an info hash or a peer id.
func (p *Parser) id(raw []byte) (id []byte, ok bool) {
	id, ok = p.text(raw, p.limits.MaxID)
	if !ok || !validID(id, &p.limits) {
		return nil, false
	}
	return id, true
}

// text decodes a string of at most max code points; a longer one it may
// decode or refuse. The result aliases the frame where it can.
func (p *Parser) text(raw []byte, max int) (text []byte, ok bool) {
	if !isText(raw) || len(raw) > maxEscape*max+2 {
		return nil, false
	}
	text = raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return text, true
	}
	start := len(p.scratch)
	p.scratch, ok = unescape(p.scratch, text)
	return p.scratch[start:len(p.scratch):len(p.scratch)], ok
}

func (p *Parser) offerKey(raw []byte) []byte {
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return raw[:len(raw)-1] // what appendOfferKey gives, without a copy
	}
	start := len(p.scratch)
	p.scratch = appendOfferKey(p.scratch, raw)
	return p.scratch[start:len(p.scratch):len(p.scratch)]
}

// appendOfferKey appends the form of an offer id in which equal ids are equal
// bytes: a quote and the decoded string, or an equals sign and the bytes of
// anything else. Lone surrogates are told apart, since a client may pair its
// offers by them; the key goes nowhere where it would have to be UTF-8.
func appendOfferKey(dst, raw []byte) []byte {
	if raw[0] != '"' {
		dst = append(dst, '=')
		return append(dst, raw...)
	}
	dst = append(dst, '"')
	dst, _ = unescape(dst, raw[1:len(raw)-1])
	return dst
}

func usableOfferID(raw []byte) bool {
	return len(raw) > 0 && len(raw) <= maxOfferID && !isNull(raw)
}

func isNull(raw []byte) bool { return len(raw) > 0 && raw[0] == 'n' }

func isText(raw []byte) bool { return len(raw) >= 2 && raw[0] == '"' }

// isString reports whether raw is a string that decodes to want, one of the
// few words that mean something in a frame.
func isString(raw []byte, want string) bool {
	if !isText(raw) {
		return false
	}
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text) == want
	}
	if len(text) > maxName {
		return false
	}
	var b [maxName]byte
	text, _ = unescape(b[:0], text)
	return string(text) == want
}
