package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/draeder/peerservers/tracker/load"
)

// benchResults is what bench prints: the report, and with two nodes that of
// the run before it, in which each swarm was on one of them.
type benchResults struct {
	*load.Report
	Whole *load.Report `json:"whole_swarms,omitempty"`
	Relay *load.Relay  `json:"relay,omitempty"`
}

func (b *benchResults) faults() int64 {
	n := b.Faults.Total()
	if b.Whole != nil {
		n += b.Whole.Faults.Total()
	}
	return n
}

// table writes the results for people.
func (b *benchResults) table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(tw, name+"\t"+format+"\n", args...) }
	if b.Whole != nil {
		row("swarms on one node each", "")
		reportRows(b.Whole, row)
		row("", "")
		row("swarms halved between the nodes", "")
	}
	reportRows(b.Report, row)
	if r := b.Relay; r != nil {
		row("", "")
		row("relayed messages", "%d of %d", b.Relayed, b.In+b.Out)
		if r.LocalUs > 0 {
			row("CPU of a message", "%.2f us if local, %.2f us on both nodes if relayed: %.2fx", r.LocalUs, r.RelayedUs, r.Ratio)
		}
		row("added to an answer", "p50 %.2f ms, p99 %.2f ms", r.AddedP50, r.AddedP99)
	}
	return tw.Flush()
}

func reportRows(r *load.Report, row func(name, format string, args ...any)) {
	kind := "ws"
	if r.Connect.TLS {
		kind = "wss"
	}
	row("clients", "%d in %d swarms, %s; %.0f connected a second (p50 %.2f ms, p99 %.2f ms each)",
		r.Connect.Connections, r.Swarms, kind, r.Connect.PerSecond, r.Connect.Took.P50, r.Connect.Took.P99)
	for _, e := range r.Connect.Errors {
		row("", "%s", e)
	}
	if r.MeetSeconds > 0 {
		row("nodes met", "after %.1f s", r.MeetSeconds)
	}
	if r.In+r.Out > 0 {
		row("messages", "%.0f a second in, %.0f out, for %.1f s", r.InPerSecond, r.OutPerSecond, r.Seconds)
	}
	first, second := "announce to reply", "announce to answer"
	if r.Echo {
		first, second = "echo of an announce", "echo of an answer"
	}
	for _, l := range []struct {
		name string
		load.Latency
	}{{first, r.Reply}, {second, r.Answer}, {"through the other node", r.RelayedAnswer}} {
		if l.Count > 0 {
			row(l.name, "p50 %.2f ms, p99 %.2f ms, max %.2f ms (%d)", l.P50, l.P99, l.Max, l.Count)
		}
	}
	if len(r.Servers) > 0 {
		if r.In+r.Out > 0 {
			row("CPU of the server", "%.2f us a message", r.CPUPerMessage)
		}
		row("", "%.0f us a connection, with its first announce", r.Connect.CPUPerConnection)
	}
	for _, s := range r.Servers {
		row(fmt.Sprintf("process %d", s.PID), "%.2f s (%.2f s outside the kernel); memory of a connection %.2f KiB idle, %.2f KiB at the end",
			s.CPUSeconds, s.UserSeconds, s.KiBIdle, s.KiBLoaded)
	}
	g := r.Generator
	if r.In+r.Out > 0 {
		row("this generator", "%.2f us a message; announces left late by p50 %.2f ms, p99 %.2f ms, max %.2f ms",
			g.CPUPerMessage, g.Lateness.P50, g.Lateness.P99, g.Lateness.Max)
	}
	if g.Starved {
		row("", "TOO LATE: the machine is too busy for these figures to be the server's")
	}
	if r.Faults.Total() == 0 {
		row("faults", "none")
		return
	}
	r.Faults.Each(func(name string, n int64) {
		if n > 0 {
			row("FAULTS", "%d %s", n, name)
		}
	})
}
