package wire

// Fault is why a frame is not served. The zero value is no fault.
type Fault uint8

const (
	FaultNone Fault = iota
	// FaultSyntax: not one JSON text.
	FaultSyntax
	// FaultUTF8: text that is not UTF-8.
	FaultUTF8
	// FaultDepth: nested deeper than Limits.MaxDepth.
	FaultDepth
	// FaultNotObject: JSON, but not an object.
	FaultNotObject
	// FaultAction: neither an announce nor a scrape.
	FaultAction
	// FaultInfoHash: info_hash is missing, or is no id within the limits.
	FaultInfoHash
	// FaultPeerID: peer_id is missing, or is no id within the limits.
	FaultPeerID
	// FaultScrapeLimit: a scrape of more than Limits.MaxScrape hashes.
	FaultScrapeLimit
	// FaultBadAnswer: an answer that is no object with a string "sdp" within
	// Limits.MaxSDP, or that comes without action "announce".
	FaultBadAnswer
	// FaultAnswerID: an answer whose info_hash, peer_id, to_peer_id or
	// offer_id cannot be used.
	FaultAnswerID

	// FaultCount is the number of faults, FaultNone included, for arrays of
	// counters.
	FaultCount = iota
)

// String is a fixed label, for metrics.
func (f Fault) String() string {
	switch f {
	case FaultNone:
		return "none"
	case FaultSyntax:
		return "syntax"
	case FaultUTF8:
		return "utf8"
	case FaultDepth:
		return "depth"
	case FaultNotObject:
		return "not_object"
	case FaultAction:
		return "action"
	case FaultInfoHash:
		return "info_hash"
	case FaultPeerID:
		return "peer_id"
	case FaultScrapeLimit:
		return "scrape_limit"
	case FaultBadAnswer:
		return "bad_answer"
	case FaultAnswerID:
		return "answer_id"
	}
	return "unknown"
}

// Reason is the text for the client's "failure reason".
func (f Fault) Reason() string {
	switch f {
	case FaultNone:
		return ""
	case FaultSyntax:
		return "invalid JSON"
	case FaultUTF8:
		return "invalid UTF-8"
	case FaultDepth:
		return "JSON nested too deeply"
	case FaultNotObject:
		return "not a JSON object"
	case FaultAction:
		return "invalid action"
	case FaultInfoHash:
		return "invalid info_hash"
	case FaultPeerID:
		return "invalid peer_id"
	case FaultScrapeLimit:
		return "too many info hashes in one scrape"
	case FaultBadAnswer:
		return "invalid answer"
	case FaultAnswerID:
		return "invalid id in an answer"
	}
	return "invalid request"
}

// Unparsable reports whether the frame was not a JSON object at all, which no
// client does but by a defect: a connection that goes on so may be closed.
func (f Fault) Unparsable() bool {
	switch f {
	case FaultSyntax, FaultUTF8, FaultDepth, FaultNotObject:
		return true
	}
	return false
}

// Silent reports whether the client must not be told. Nothing is ever said to
// an answer: libtorrent takes any frame with the info hash of an announce
// that it has pending as the outcome of that announce.
func (f Fault) Silent() bool {
	return f == FaultBadAnswer || f == FaultAnswerID
}
