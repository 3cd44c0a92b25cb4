package handshake

// Fault is why a handshake failed. It is an error whose text is a fixed label,
// fit for a metric.
type Fault uint8

const (
	_ Fault = iota
	// FaultFrame: not the frame that was due, or a malformed one.
	FaultFrame
	// FaultOrder: a frame after the end of the handshake.
	FaultOrder
	// FaultVersion: no common version, or not the highest one.
	FaultVersion
	// FaultNetwork: a node of another network.
	FaultNetwork
	// FaultOwnKey: the other side shows our own key.
	FaultOwnKey
	// FaultUnexpectedKey: not the node that was to be dialled.
	FaultUnexpectedKey
	// FaultURL: the dialler meant another URL.
	FaultURL
	// FaultEphemeral: an ephemeral key of low order.
	FaultEphemeral
	// FaultSignature: the proof is none.
	FaultSignature
	// FaultWeakKey: an identity key of small order, for which everybody can sign.
	FaultWeakKey
	// FaultDenied: a node that this one is not to deal with.
	FaultDenied
)

// Faults is how many faults there are, for arrays of counters.
const Faults = int(FaultDenied) + 1

// Error is a fixed label, fit for a metric.
func (f Fault) Error() string {
	names := [Faults]string{
		"none", "frame", "order", "version", "network", "own key", "unexpected key", "url", "ephemeral key", "signature", "weak key",
		"denied",
	}
	if int(f) >= Faults {
		f = 0
	}
	return names[f]
}
