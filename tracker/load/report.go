package load

// Report is what a run measured.
type Report struct {
	URLs []string `json:"urls"`
	Shape
	// Whole says where swarms were, if there are two nodes.
	Whole bool `json:"whole,omitempty"`

	Connect Connect `json:"connect"`
	// Seconds were measured. In and Out are text messages in that time, as
	// the server sees them: from clients, and to them.
	Seconds      float64 `json:"seconds"`
	In           int64   `json:"messages_in"`
	Out          int64   `json:"messages_out"`
	InPerSecond  float64 `json:"messages_in_per_second"`
	OutPerSecond float64 `json:"messages_out_per_second"`
	// Relayed is how many of them had to do with an offer that crossed from
	// one node to the other: the offer, and the answer in and out.
	Relayed int64 `json:"messages_relayed,omitempty"`

	// Reply is from an announce to its reply, Answer from an announce to an
	// answer to one of its offers, RelayedAnswer the same if it came from the
	// other node. For echoes: of announces, and of answers.
	Reply         Latency `json:"reply"`
	Answer        Latency `json:"answer"`
	RelayedAnswer Latency `json:"relayed_answer,omitzero"`

	Faults Faults `json:"faults"`
	// Servers are the processes watched.
	Servers []Server `json:"servers,omitempty"`
	// CPUPerMessage is the CPU time of all of them for each message, in
	// microseconds; 0 if none was watched.
	CPUPerMessage float64 `json:"cpu_us_per_message,omitempty"`

	Generator Generator `json:"generator"`
	// MeetSeconds is how long two nodes took to find each other's peers.
	MeetSeconds float64 `json:"meet_seconds,omitempty"`
}

// Connect is how connecting went. Each took from the first packet to the end
// of the upgrade.
type Connect struct {
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"per_second"`
	TLS         bool    `json:"tls"`
	Took        Latency `json:"took"`
	// CPUPerConnection is the servers' CPU time for each, the first announce
	// included, in microseconds.
	CPUPerConnection float64 `json:"cpu_us_per_connection,omitempty"`
	// Errors are the first few reasons why a connection failed.
	Errors []string `json:"errors,omitempty"`
}

// Server is a process watched.
type Server struct {
	PID           int     `json:"pid"`
	CPUSeconds    float64 `json:"cpu_seconds"`
	UserSeconds   float64 `json:"user_seconds"`
	CPUPerMessage float64 `json:"cpu_us_per_message"`
	// KiB of own memory for each connection, before the load and at the end
	// of it.
	KiBIdle   float64 `json:"kib_per_connection_idle"`
	KiBLoaded float64 `json:"kib_per_connection_loaded"`
}

// Generator is what the generator itself used, and how late it sent what was
// due. If that was much, the machine was too busy for the figures to be those
// of the server.
type Generator struct {
	CPUSeconds    float64 `json:"cpu_seconds"`
	CPUPerMessage float64 `json:"cpu_us_per_message"`
	Lateness      Latency `json:"lateness"`
	Starved       bool    `json:"starved"`
}

// Relay compares two runs on two nodes: swarms whole on either, and halved
// between them.
type Relay struct {
	// LocalUs is the CPU time of a message with nothing relayed; RelayedUs
	// that of one which belongs to a relayed offer, on both nodes together,
	// if all others cost what they did without relaying.
	LocalUs   float64 `json:"local_cpu_us"`
	RelayedUs float64 `json:"relayed_cpu_us"`
	Ratio     float64 `json:"ratio"`
	// Added is by how much a relayed answer was slower than one from the same
	// node, in milliseconds.
	AddedP50 float64 `json:"added_p50_ms"`
	AddedP99 float64 `json:"added_p99_ms"`
}

// Compare says what relaying costs.
func Compare(whole, halves *Report) Relay {
	r := Relay{
		LocalUs:  whole.CPUPerMessage,
		AddedP50: halves.RelayedAnswer.P50 - halves.Answer.P50,
		AddedP99: halves.RelayedAnswer.P99 - halves.Answer.P99,
	}
	if all := halves.In + halves.Out; halves.Relayed > 0 && r.LocalUs > 0 {
		total := halves.CPUPerMessage * float64(all)
		r.RelayedUs = (total - r.LocalUs*float64(all-halves.Relayed)) / float64(halves.Relayed)
		r.Ratio = r.RelayedUs / r.LocalUs
	}
	return r
}
