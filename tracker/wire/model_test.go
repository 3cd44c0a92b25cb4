package wire

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// modelParse is Parse once more, without regard to speed: written from
// protocol.md on top of encoding/json, and sharing no code with it. For a
// frame that is not a JSON object within limits, several faults may be right;
// the model then gives FaultSyntax for any of them.
func modelParse(frame []byte, l Limits) (Request, Fault) {
	r := Request{NumWant: -1}
	if !json.Valid(frame) || !utf8.Valid(frame) || modelDepth(frame) > l.MaxDepth {
		return r, FaultSyntax
	}
	if bytes.TrimLeft(frame, " \t\r\n")[0] != '{' {
		return r, FaultNotObject
	}
	m := modelObject(frame)
	action, _ := modelText(m["action"])
	switch action {
	case "announce":
		r.Action = ActionAnnounce
	case "scrape":
		r.Action = ActionScrape
		return modelScrape(m, r, l)
	}
	if raw := m["answer"]; raw != nil && string(raw) != "null" {
		if r.Action != ActionAnnounce || !modelPayload(raw, l) {
			return r, FaultBadAnswer
		}
		var ok [3]bool
		r.InfoHash, ok[0] = modelID(m["info_hash"], l)
		r.PeerID, ok[1] = modelID(m["peer_id"], l)
		r.ToPeerID, ok[2] = modelID(m["to_peer_id"], l)
		r.OfferID = m["offer_id"]
		if ok != [3]bool{true, true, true} || !modelOfferID(r.OfferID) {
			return r, FaultAnswerID
		}
		r.Answer, r.OfferKey = raw, modelKey(r.OfferID)
		return r, FaultNone
	}
	var ok bool
	r.InfoHash, ok = modelID(m["info_hash"], l)
	if r.Action != ActionAnnounce {
		return r, FaultAction
	}
	if !ok {
		return r, FaultInfoHash
	}
	if r.PeerID, ok = modelID(m["peer_id"], l); !ok {
		return r, FaultPeerID
	}
	event, _ := modelText(m["event"])
	r.Event = map[string]Event{"started": EventStarted, "stopped": EventStopped, "completed": EventCompleted}[event]
	r.Left = modelLeft(m["left"])
	r.NumWant = modelNumWant(m["numwant"])
	if token, ok := modelText(m["token"]); ok && len(token) <= 256 {
		r.Token = []byte(token)
	}
	var elements []json.RawMessage
	if json.Unmarshal(m["offers"], &elements) != nil {
		elements = nil
	}
	for _, element := range elements {
		if element[0] != '{' || len(r.Offers) == l.MaxOffers {
			continue
		}
		e := modelObject(element)
		if modelPayload(e["offer"], l) && modelOfferID(e["offer_id"]) {
			r.Offers = append(r.Offers, Offer{ID: e["offer_id"], Key: modelKey(e["offer_id"]), Payload: e["offer"]})
		}
	}
	return r, FaultNone
}

func modelScrape(m map[string]json.RawMessage, r Request, l Limits) (Request, Fault) {
	raw := m["info_hash"]
	if raw == nil || string(raw) == "null" {
		r.ScrapeAll = true
		return r, FaultNone
	}
	list := []json.RawMessage{raw}
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &list); err != nil {
			panic(err)
		}
	}
	for i, raw := range list {
		if i == l.MaxScrape {
			return r, FaultScrapeLimit
		}
		id, ok := modelID(raw, l)
		if !ok {
			return r, FaultInfoHash
		}
		r.Scrape = append(r.Scrape, id)
	}
	return r, FaultNone
}

// modelObject is the members of an object; of several with one name
// encoding/json keeps the last too.
func modelObject(raw []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		panic(err)
	}
	return m
}

func modelDepth(frame []byte) (deepest int) {
	depth, text := 0, false
	for i := 0; i < len(frame); i++ {
		switch c := frame[i]; {
		case c == '"':
			text = !text
		case text && c == '\\':
			i++
		case text:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// modelUnits is a string as JavaScript has it.
func modelUnits(raw []byte) (units []uint16) {
	text := string(raw[1 : len(raw)-1])
	for text != "" {
		if text[0] != '\\' {
			r, size := utf8.DecodeRuneInString(text)
			units = utf16.AppendRune(units, r)
			text = text[size:]
			continue
		}
		if text[1] == 'u' {
			u, err := strconv.ParseUint(text[2:6], 16, 16)
			if err != nil {
				panic(err)
			}
			units = append(units, uint16(u))
			text = text[6:]
			continue
		}
		units = append(units, uint16(strings.NewReplacer("n", "\n", "r", "\r", "t", "\t", "b", "\b", "f", "\f").Replace(text[1:2])[0]))
		text = text[2:]
	}
	return units
}

func modelText(raw []byte) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	units := modelUnits(raw)
	runes := utf16.Decode(units)
	return string(runes), slices.Equal(utf16.Encode(runes), units)
}

func modelID(raw []byte, l Limits) ([]byte, bool) {
	text, ok := modelText(raw)
	n := utf8.RuneCountInString(text)
	if !ok || n == 0 || !l.StrictIDs && n > l.MaxID {
		return nil, false
	}
	if l.StrictIDs && (n != 20 || strings.ContainsFunc(text, func(r rune) bool { return r > 0xff })) {
		return nil, false
	}
	return []byte(text), true
}

func modelOfferID(raw []byte) bool {
	return len(raw) > 0 && len(raw) <= 256 && string(raw) != "null"
}

func modelKey(raw []byte) []byte {
	if raw[0] != '"' {
		return append([]byte{'='}, raw...)
	}
	key := []byte{'"'}
	units := modelUnits(raw)
	for i := 0; i < len(units); i++ {
		u := rune(units[i])
		if i+1 < len(units) {
			if pair := utf16.DecodeRune(u, rune(units[i+1])); pair != utf8.RuneError {
				key = utf8.AppendRune(key, pair)
				i++
				continue
			}
		}
		if utf16.IsSurrogate(u) {
			key = append(key, 0xed, byte(0x80|u>>6&0x3f), byte(0x80|u&0x3f))
			continue
		}
		key = utf8.AppendRune(key, u)
	}
	return key
}

func modelPayload(raw []byte, l Limits) bool {
	if len(raw) == 0 || raw[0] != '{' || len(raw) > l.MaxSDP {
		return false
	}
	sdp := modelObject(raw)["sdp"]
	return len(sdp) > 0 && sdp[0] == '"'
}

var modelExponent = regexp.MustCompile(`[eE]([+-]?)([0-9]+)$`)

// modelNumber is the value of a number. Exponents beyond all digits are cut
// to a size that big.Rat can do.
func modelNumber(raw []byte) *big.Rat {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return nil
	}
	text := modelExponent.ReplaceAllStringFunc(string(raw), func(e string) string {
		sub := modelExponent.FindStringSubmatch(e)
		n, err := strconv.Atoi(sub[2])
		if beyond := len(raw) + 20; err != nil || n > beyond {
			n = beyond
		}
		return "e" + sub[1] + strconv.Itoa(n)
	})
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		panic(text)
	}
	return n
}

func modelLeft(raw []byte) Left {
	if text, ok := modelText(raw); ok && text == "0" {
		return LeftZero
	}
	n := modelNumber(raw)
	switch {
	case n == nil || n.Sign() < 0:
		return LeftUnknown
	case n.Sign() == 0:
		return LeftZero
	}
	return LeftMore
}

func modelNumWant(raw []byte) int {
	n := modelNumber(raw)
	switch {
	case n == nil || !n.IsInt() || n.Sign() < 0:
		return -1
	case n.Cmp(big.NewRat(MaxNumWant, 1)) > 0:
		return MaxNumWant
	}
	return int(n.Num().Int64())
}
