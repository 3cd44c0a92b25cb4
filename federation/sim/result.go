package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/draeder/peerservers/federation/frame"
)

// Result is what a scenario found.
type Result struct {
	Scenario string
	Seed     uint64
	// HonestWith and HonestWithout count introductions of honest clients with
	// and without attackers; they are equal where there are none.
	HonestWith, HonestWithout float64
	// Failures are the invariants that did not hold.
	Failures []string
	inputs   []figure
	figures  []figure
}

type figure struct {
	name  string
	value float64
}

func newResult(scenario string, seed uint64) *Result { return &Result{Scenario: scenario, Seed: seed} }

// input names what a scenario was given, and set what it found.
func (r *Result) input(name string, v float64) { r.inputs = append(r.inputs, figure{name, v}) }
func (r *Result) set(name string, v float64)   { r.figures = append(r.figures, figure{name, v}) }
func (r *Result) seconds(name string, d time.Duration) {
	r.set(name+"_s", math.Round(d.Seconds()*100)/100)
}

// Figure is one of the figures found, by name; NaN if there is none.
func (r *Result) Figure(name string) float64 {
	for _, f := range r.figures {
		if f.name == name {
			return f.value
		}
	}
	return math.NaN()
}

// must notes an invariant that did not hold.
func (r *Result) must(holds bool, format string, args ...any) {
	if !holds {
		r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
	}
}

// check notes a world that is not as it must be.
func (r *Result) check(w *World) {
	if err := w.Check(); err != nil {
		r.must(false, "%v", err)
	}
}

// Print writes the table.
func (r *Result) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%s, seed %d\n", r.Scenario, r.Seed)
	for _, f := range r.inputs {
		fmt.Fprintf(out, "  %-38s %12s\n", f.name, number(f.value))
	}
	fmt.Fprintf(out, "  %s\n", "--------------------------------------------------")
	for _, f := range r.figures {
		fmt.Fprintf(out, "  %-38s %12s\n", f.name, number(f.value))
	}
	fmt.Fprintf(out, "  %-38s %12s\n  %-38s %12s\n", "honest_with", number(r.HonestWith), "honest_without", number(r.HonestWithout))
	for _, f := range r.Failures {
		fmt.Fprintf(out, "  FAILED: %s\n", f)
	}
}

func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// MarshalJSON implements json.Marshaler: one flat object.
func (r *Result) MarshalJSON() ([]byte, error) {
	m := map[string]any{
		"scenario": r.Scenario, "seed": r.Seed, "honest_with": r.HonestWith, "honest_without": r.HonestWithout,
		"failures": append([]string{}, r.Failures...),
	}
	for _, list := range [][]figure{r.inputs, r.figures} {
		for _, f := range list {
			m[f.name] = f.value
		}
	}
	return json.Marshal(m)
}

// common sets the figures that every scenario has.
func (r *Result) common(w *World, from, to time.Duration) {
	k := &w.count
	nodes := 0
	for _, n := range w.nodes {
		if n.hostile == nil {
			nodes++
		}
	}
	per := float64(nodes) * (to - from).Seconds()
	r.set("introductions", float64(k.pairs))
	r.set("introductions_across", float64(k.pairsAcross))
	r.set("offers_made", float64(k.offers))
	r.set("offers_delivered", float64(k.offered))
	r.set("answers_sent", float64(k.answers))
	r.set("answers_undelivered", float64(k.answers-min(k.answered, k.answers)))
	r.set("answers_lost_crossed", float64(k.lostCrossed))
	r.set("answers_lost_late", float64(k.lostLate))
	r.set("answers_lost_full", float64(k.lostFull))
	r.set("answers_lost_gone", float64(k.lostGone))
	r.set("frames_per_node_s", float64(k.allFrames())/per)
	r.set("joins_per_node_s", float64(k.frames[frame.KindJoin])/per)
	r.set("names_and_filters_per_node_s", float64(k.frames[frame.KindNames]+k.frames[frame.KindFilter]+k.frames[frame.KindCensus])/per)
	r.set("registry_frames_per_node_s", float64(k.frames[frame.KindRegister]+k.frames[frame.KindTold])/per)
	// Payloads are tiny here: what real ones take is added.
	r.set("kbytes_per_node_s", (float64(k.bytes)+float64(k.relayed)*realOffer+float64(k.frames[frame.KindAnswer])*realOffer)/per/1000)
	mean, peak := k.packetsIn(from, to)
	r.set("dht_packets_per_node_s", mean/float64(nodes))
	r.set("dht_packets_peak_per_node_s", peak/float64(nodes))
	r.set("dials", float64(k.dials))
	r.set("dials_failed", float64(k.dialsFailed))
	r.set("events", float64(k.events))
}

// realOffer is how large the offers and answers of browsers are, about.
const realOffer = 2000
