package sim

import "time"

// fake marks the clients that attackers invent.
const fake = 1 << 31

// An offer's id says when it was made, in tenths of a second, and which one of
// its announce it is.
func offerAt(now time.Duration, i int) uint32 { return uint32(now/1e8)<<8 | uint32(i) }

func offerMade(offer uint32) time.Duration { return time.Duration(offer>>8) * 1e8 }

// A peer id is one of the reference client's form, with a number in it.
func appendPeer(b []byte, id uint32) []byte {
	b = append(b, "-SM0100-"...)
	if id&fake != 0 {
		b[len(b)-7] = 'X'
	}
	for d := uint32(100_000_000); d > 0; d /= 10 {
		b = append(b, byte('0'+id&^fake/d%10))
	}
	return append(b, "sim"...)
}

func parsePeer(b []byte) (id uint32) {
	if len(b) != 20 {
		return fake
	}
	for _, c := range b[8:17] {
		id = 10*id + uint32(c-'0')
	}
	if b[1] == 'X' {
		id |= fake
	}
	return id
}

const hexDigits = "0123456789abcdef"

func appendOffer(b []byte, offer uint32) []byte {
	for shift := 24; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[offer>>shift&15])
	}
	return b
}

// parseOffer reads an offer id as raw JSON.
func parseOffer(b []byte) (offer uint32) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			offer = offer<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			offer = offer<<4 | uint32(c-'a'+10)
		}
	}
	return offer & (1<<28 - 1)
}
