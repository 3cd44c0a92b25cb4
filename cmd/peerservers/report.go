package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
)

// report is /federation.json. Members are only ever added.
type report struct {
	// Off: the node is a tracker alone, and the rest is empty.
	Off bool `json:"off"`
	federation.Status
	DHT *dhtReport `json:"dht"`
}

// dhtReport is what the DHT node adds.
type dhtReport struct {
	// PacketRate is how many packets a second our own queries took over about
	// the last minute, of PacketLimit.
	PacketRate  float64        `json:"packets_per_second"`
	PacketLimit float64        `json:"packets_per_second_limit"`
	Nodes       int            `json:"nodes"`
	GoodNodes   int            `json:"good_nodes"`
	SinceAnswer float64        `json:"since_answer"` // in seconds; negative: nobody ever answered
	Families    []familyReport `json:"families"`
	// Events are all that the DHT node counts.
	Events map[string]uint64 `json:"events"`
}

type familyReport struct {
	Family      string  `json:"family"`
	Address     string  `json:"address"` // where it listens
	Nodes       int     `json:"nodes"`
	GoodNodes   int     `json:"good_nodes"`
	SinceAnswer float64 `json:"since_answer"`
}

// report is the state of the node now.
func (f *federated) report() report {
	r := report{Status: f.node.Status(), DHT: newDHTReport(f.dht.Stats())}
	return r
}

func newDHTReport(s dhtstore.Stats) *dhtReport {
	r := &dhtReport{
		PacketRate: s.PacketRate, PacketLimit: s.PacketLimit, Nodes: s.Nodes, GoodNodes: s.GoodNodes,
		SinceAnswer: s.SinceAnswer.Seconds(), Events: s.Counts,
	}
	for _, d := range s.DHTs {
		r.Families = append(r.Families, familyReport{
			Family: d.Family, Address: d.Local.String(), Nodes: d.Nodes, GoodNodes: d.GoodNodes, SinceAnswer: d.SinceAnswer.Seconds(),
		})
	}
	return r
}

// print writes the report for a person.
func (r *report) print(out io.Writer) {
	if r.Off {
		fmt.Fprintln(out, "federation is off (--no-federation)")
		return
	}
	fmt.Fprintf(out, "node %s\n", r.Key)
	at := strings.Join(r.URLs, ", ")
	if r.Leaf {
		at = "a leaf: " + r.Why
	} else if r.Why != "" {
		at += " (a guess: " + r.Why + ")"
	}
	fmt.Fprintf(out, "  %s\n", at)
	fmt.Fprintf(out, "  up %s; %d swarms, %d of them without a peer elsewhere; %d nodes known, %d linked\n",
		age(r.Age), r.Swarms, r.Hungry, r.Known, len(r.Links))
	if d := r.DHT; d != nil {
		fmt.Fprintf(out, "  DHT: %d of %d nodes good; %.1f of %.0f packets/s used\n", d.GoodNodes, d.Nodes, d.PacketRate, d.PacketLimit)
	}
	if s := counted(r.Dropped); s != "" {
		fmt.Fprintf(out, "  left undone for a bound: %s\n", s)
	}
	for _, b := range r.Barred[:min(len(r.Barred), 10)] {
		who := "prefix " + b.Prefix
		if b.Key != "" {
			who = fmt.Sprintf("%.12s", b.Key)
		}
		fmt.Fprintf(out, "  barred: %s for %s, after %d times\n", who, age(b.For), b.Times)
	}
	if n := len(r.Barred); n > 10 {
		fmt.Fprintf(out, "  barred: %d more\n", n-10)
	}
	if len(r.Links) == 0 {
		return
	}
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tWAY\tAGE\tSHARED\tOFFERS\tANSWERS\tACCEPTED\tBYTES\tDROPPED\tSTRIKES\tPROVEN\tADDRESS\tURL")
	for _, l := range r.Links {
		url := "(leaf)"
		if len(l.URLs) > 0 {
			url = l.URLs[0]
		}
		fmt.Fprintf(t, "%.12s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n",
			l.Key, l.Direction, age(l.Age), l.Shared, flow(l.Offers), flow(l.Answers), l.Accepted,
			bytesOf(l.Bytes.Sent)+"/"+bytesOf(l.Bytes.Received), orDash(counted(l.Dropped)), orDash(counted(l.Strikes)), proven(l.Trust), orDash(l.Address), url)
	}
	t.Flush()
}

// flow is what went out and came in.
func flow(f federation.Flow) string { return fmt.Sprintf("%d/%d", f.Sent, f.Received) }

// proven is whether a node has proved itself, and how far it is drawn from.
func proven(t federation.TrustStatus) string {
	if t.Proven {
		return fmt.Sprint("yes:", t.Receivers)
	}
	return fmt.Sprint("no:", t.Receivers)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// counted is a map of counters as text, without a space in an entry.
func counted(m map[string]uint64) string {
	var list []string
	byLabel(m, func(label string, n float64) {
		list = append(list, fmt.Sprintf("%s:%.0f", strings.ReplaceAll(label, " ", "_"), n))
	})
	return strings.Join(list, ",")
}

// age is seconds as a person says them.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// bytesOf is a number of bytes as a person says it.
func bytesOf(n uint64) string {
	f, unit := float64(n), 0
	for f >= 1000 && unit < 4 {
		f, unit = f/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f%c", f, "kMGT"[unit-1])
}
