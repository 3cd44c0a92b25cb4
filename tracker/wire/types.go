package wire

// Action is what a client's frame asks for.
type Action uint8

const (
	ActionUnknown Action = iota
	ActionAnnounce
	ActionScrape
)

// String is the value of the frame's "action" member. An unknown action is
// rendered as "announce": error frames must carry an action that the
// reference client survives.
func (a Action) String() string {
	if a == ActionScrape {
		return "scrape"
	}
	return "announce"
}

// Event is an announce's event, read leniently: whatever is not one of the
// three that change state is an update.
type Event uint8

const (
	EventUpdate Event = iota
	EventStarted
	EventStopped
	EventCompleted
)

// Left is what an announce says of the bytes that the peer still lacks.
type Left uint8

const (
	// LeftUnknown: absent, null, negative, or not a number.
	LeftUnknown Left = iota
	// LeftZero: 0 or "0": a seeder.
	LeftZero
	// LeftMore: a JSON number above 0: a leecher, also if it was a seeder.
	LeftMore
)

// Offer is one usable element of an announce's offers.
type Offer struct {
	// ID is offer_id as raw JSON, exactly as the client sent it.
	ID []byte
	// Key is offer_id in the form in which two spellings of one value compare
	// equal: a string's decoded UTF-8, or the raw bytes of anything else,
	// after one byte that tells the two apart.
	Key []byte
	// Payload is the offer object as raw JSON, relayed byte for byte.
	Payload []byte
}

// Request is one client frame. All slices alias the frame or the Parser's
// scratch and are valid until the next call of Parse. Members that the kind of
// frame does not use are zero.
type Request struct {
	Action Action
	// InfoHash, PeerID and ToPeerID are decoded: UTF-8, 1 to Limits.MaxID
	// code points. Escaped and raw spellings of one id are equal here.
	InfoHash []byte
	PeerID   []byte
	ToPeerID []byte
	Event    Event
	Left     Left
	// NumWant is -1 when the frame gives no integer of 0 or more, and at most
	// MaxNumWant.
	NumWant int
	// Offers holds the usable elements, at most Limits.MaxOffers.
	Offers []Offer
	// Answer is the answer object as raw JSON; nil unless the frame is an
	// answer. OfferID and OfferKey then are as in Offer.
	Answer   []byte
	OfferID  []byte
	OfferKey []byte
	// Scrape lists the decoded info hashes of a scrape (empty for a list
	// without elements); ScrapeAll: the frame named none.
	Scrape    [][]byte
	ScrapeAll bool
	// Token is the announce's "token" member when it is a string (decoded,
	// at most 256 bytes), for access rules.
	Token []byte
}

// Limits bound what Parse accepts. A number that is not above 0 stands for its
// default.
type Limits struct {
	// MaxID is the longest info hash or peer id in code points (64).
	MaxID int
	// StrictIDs accepts only 20 code points, each at most U+00FF.
	StrictIDs bool
	// MaxSDP is the largest raw offer or answer object in bytes (64 KiB).
	MaxSDP int
	// MaxOffers is how many offers of one announce are used (20).
	MaxOffers int
	// MaxScrape is how many info hashes one scrape may name (100).
	MaxScrape int
	// MaxDepth is the deepest JSON nesting accepted (64, which is also the
	// most that it can be), the frame itself included.
	MaxDepth int
}

// DefaultLimits are the limits of protocol.md, "recommend".
func DefaultLimits() Limits {
	return Limits{MaxID: 64, MaxSDP: 64 << 10, MaxOffers: 20, MaxScrape: 100, MaxDepth: 64}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	return Limits{
		MaxID:     positive(l.MaxID, d.MaxID),
		StrictIDs: l.StrictIDs,
		MaxSDP:    positive(l.MaxSDP, d.MaxSDP),
		MaxOffers: positive(l.MaxOffers, d.MaxOffers),
		MaxScrape: positive(l.MaxScrape, d.MaxScrape),
		MaxDepth:  min(positive(l.MaxDepth, d.MaxDepth), maxDepth),
	}
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// MessageKind says which frame a Message becomes.
type MessageKind uint8

const (
	KindReply MessageKind = iota
	KindOffer
	KindAnswer
	KindScrape
	KindFailure
)

// Message is one frame to a client. Which members count depends on Kind.
type Message struct {
	Kind     MessageKind
	Action   Action // KindFailure
	InfoHash []byte // decoded
	PeerID   []byte // decoded; KindOffer: the offerer, KindAnswer: the answerer
	OfferID  []byte // raw JSON
	Payload  []byte // raw JSON object: the offer or the answer
	// Interval is in seconds; KindReply.
	Interval   int
	Complete   int
	Incomplete int
	Files      []File // KindScrape
	Reason     string // KindFailure
}

// File is one entry of a scrape reply.
type File struct {
	InfoHash                         []byte // decoded
	Complete, Incomplete, Downloaded int
}
