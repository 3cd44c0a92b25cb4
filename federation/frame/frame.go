// Package frame is the codec of the messages between nodes.
//
// The schema is frame.proto, so that others can generate a codec for their
// language; ../PROTOCOL.md says what the messages mean. This codec is written
// by hand because a node relays offers for a living: Decode fills one reused
// Frame whose byte slices alias the input, Append writes to a given buffer,
// and neither allocates in steady state. A test compiles frame.proto and
// checks that this codec and a generated one agree.
//
// Everything that a frame can make larger is bounded by Limits before memory
// is taken for it. What the codec does not judge is meaning: whether an info
// hash is an acceptable one, whether a payload is JSON, whether a key has 32
// bytes is for those who use the message.
package frame

// Kind says which message a Frame carries. The values are the numbers of the
// fields in frame.proto.
type Kind uint8

const (
	// KindUnknown: none that this version knows; to be ignored.
	KindUnknown Kind = iota
	KindHello
	KindHelloReply
	KindProof
	KindJoin
	KindLeave
	KindOffers
	KindAnswer
	KindRefused
	KindRecords
	KindBye
	KindCensus
	KindFilter
	KindNames
	KindSeen
	KindRegister
	KindTold
)

// Kinds is how many kinds there are, for arrays of counters.
const Kinds = int(KindTold) + 1

// String is a fixed label, fit for a metric.
func (k Kind) String() string {
	names := [Kinds]string{
		"unknown", "hello", "hello_reply", "proof", "join", "leave", "offers", "answer", "refused", "records", "bye",
		"census", "filter", "names", "seen", "register", "told",
	}
	if int(k) >= Kinds {
		k = KindUnknown
	}
	return names[k]
}

// Frame is one message. Kind says which member counts; the others hold
// leftovers, kept for the memory of their slices.
type Frame struct {
	Kind       Kind
	Hello      Hello
	HelloReply HelloReply
	Proof      Proof
	Join       Join
	Leave      Leave
	Offers     Offers
	Answer     Answer
	Refused    Refused
	Records    Records
	Bye        Bye
	Census     Census
	Filter     Filter
	Names      Names
	Seen       Seen
	Register   Register
	Told       Told
}

// Hello opens the handshake; the dialler sends it.
type Hello struct {
	Versions  []uint32
	Network   []byte
	Nonce     []byte
	Key       []byte
	Ephemeral []byte
	URL       []byte // valid UTF-8
	Sequence  uint64
}

// HelloReply is the acceptor's answer to a Hello, and its proof.
type HelloReply struct {
	Versions  []uint32
	Network   []byte
	Nonce     []byte
	Key       []byte
	Ephemeral []byte
	Version   uint32
	Signature []byte
}

// Proof is the dialler's proof, which ends the handshake.
type Proof struct {
	Signature []byte
}

// Join is the whole state of the sender's local peers in one swarm.
type Join struct {
	InfoHash             []byte
	Complete, Incomplete uint64
	// Tagged: the tags name every peer that is counted.
	Tagged         bool
	CompleteTags   []uint64
	IncompleteTags []uint64
}

// Leave ends the sender's part in a swarm.
type Leave struct {
	InfoHash []byte
	// Full: the sender has the swarm, and shares it with others.
	Full bool
}

// Offer is one relayed offer, both members raw JSON.
type Offer struct {
	ID      []byte
	Payload []byte
}

// Offers relays offers of one announce of PeerID.
type Offers struct {
	InfoHash []byte
	PeerID   []byte
	Offers   []Offer
}

// Answer returns PeerID's answer to the offer OfferID of ToPeerID.
type Answer struct {
	InfoHash []byte
	ToPeerID []byte
	PeerID   []byte
	OfferID  []byte
	Payload  []byte
}

// Refused gives an offer of PeerID back.
type Refused struct {
	InfoHash []byte
	PeerID   []byte
	Offer    Offer
	Reason   Reason
}

// Reason is why an offer is given back. Values up to ReasonLimit equal those
// of the swarm table's refusals; a later version may send others.
type Reason int32

const (
	ReasonUnspecified Reason = iota
	ReasonNoPeer
	ReasonLocalPeer
	ReasonNotJoined
	ReasonLimit
)

// Records carries signed node records, the sender's own first.
type Records struct {
	Records []Record
}

// Record is one signed node record as it travels; Verify of package record
// judges it.
type Record struct {
	Key       []byte
	Seq       int64
	Signature []byte
	Value     []byte
}

// Bye is the last frame of its sender.
type Bye struct {
	Code Code
}

// Code is why a link ends. A later version may send others.
type Code int32

const (
	CodeUnspecified Code = iota
	CodeShutdown
	CodeDuplicate
	CodeIdle
	CodeProtocol
	CodeLimit
)

// String is a fixed label, fit for a metric.
func (c Code) String() string {
	switch c {
	case CodeShutdown:
		return "shutdown"
	case CodeDuplicate:
		return "duplicate"
	case CodeIdle:
		return "idle"
	case CodeProtocol:
		return "protocol"
	case CodeLimit:
		return "limit"
	}
	return "unspecified"
}

// Census says how many swarms the sender has, and that it knows this frame and
// the two below.
type Census struct {
	Swarms uint64
}

// Filter is one part of a filter of the sender's swarms.
type Filter struct {
	Generation uint32
	From, To   uint32 // buckets
	Data       []byte
}

// Names names swarms of the sender.
type Names struct {
	Names []uint64
}

// Seen tells the receiver at which IP address the sender sees it.
type Seen struct {
	Address []byte // 4 bytes, or 16
}

// Register tells a responsible node of swarms of the sender, and asks for others
// that have them.
type Register struct {
	Names, Asked []uint64
}

// Told answers a Register.
type Told struct {
	Records []Record
	Found   []Found
}

// Found says which nodes registered a name.
type Found struct {
	Name  uint64
	Nodes []byte // places in Told.Records
}

// Limits bound what Decode accepts, in bytes or in elements.
type Limits struct {
	// MaxFrame is the largest frame (1.5 MiB: MaxOffers full offers).
	MaxFrame int
	// MaxID is the longest info hash or peer id (256: 64 code points).
	MaxID int
	// MaxOfferID is the longest offer id as raw JSON (256).
	MaxOfferID int
	// MaxPayload is the largest offer or answer (64 KiB).
	MaxPayload int
	// MaxOffers is how many offers one frame may carry (20).
	MaxOffers int
	// MaxTags is how many tags one join may carry in all (64).
	MaxTags int
	// MaxRecords is how many records one frame may carry (32).
	MaxRecords int
	// MaxRecord is the largest record value (1000, as BEP 44 has it).
	MaxRecord int
	// MaxVersions is how many versions a hello may list (16).
	MaxVersions int
	// MaxURL is the longest URL (255).
	MaxURL int
	// MaxFilter is the largest part of a filter (21,636: package filter).
	MaxFilter int
	// MaxNames is how many swarms one frame may name (512).
	MaxNames int
	// MaxFound is how many nodes may be told of for one name (8).
	MaxFound int
}

// DefaultLimits are the limits of PROTOCOL.md, which every node must accept.
func DefaultLimits() Limits {
	return Limits{
		MaxFrame: 3 << 19, MaxID: 256, MaxOfferID: 256, MaxPayload: 64 << 10, MaxOffers: 20,
		MaxTags: 64, MaxRecords: 32, MaxRecord: 1000, MaxVersions: 16, MaxURL: 255,
		MaxFilter: 21_636, MaxNames: 512, MaxFound: 8,
	}
}

// HandshakeLimits are DefaultLimits for a link that has proved nothing yet:
// the largest handshake frame takes well under a kilobyte.
func HandshakeLimits() Limits {
	l := DefaultLimits()
	l.MaxFrame = 2 << 10
	return l
}

// Fault is why a frame was not decoded. It is an error whose text is a fixed
// label, fit for a metric.
type Fault uint8

const (
	_ Fault = iota
	// FaultMalformed: not a protobuf encoding.
	FaultMalformed
	// FaultFrame: longer than MaxFrame.
	FaultFrame
	// FaultTwoMessages: more than one known message in one frame.
	FaultTwoMessages
	// FaultText: a string that is not UTF-8.
	FaultText
	// FaultHandshake: a handshake field over its bound.
	FaultHandshake
	// FaultID: an info hash, peer id or offer id over its bound.
	FaultID
	// FaultPayload: an offer or answer over its bound.
	FaultPayload
	// FaultOffers: too many offers.
	FaultOffers
	// FaultTags: too many tags.
	FaultTags
	// FaultRecords: too many records, or a record too large.
	FaultRecords
	// FaultFilter: a part of a filter over its bound.
	FaultFilter
	// FaultNames: too many names.
	FaultNames
	// FaultAddress: longer than any IP address.
	FaultAddress
)

// Faults is how many faults there are, for arrays of counters.
const Faults = int(FaultAddress) + 1

// Error is a fixed label, fit for a metric.
func (f Fault) Error() string {
	names := [Faults]string{
		"none", "malformed", "frame too large", "two messages", "text", "handshake field", "id", "payload", "offers", "tags", "records",
		"filter part", "swarm names", "address",
	}
	if int(f) >= Faults {
		f = 0
	}
	return names[f]
}
