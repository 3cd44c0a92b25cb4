package load

import (
	"strings"
	"time"
)

// mark notes what has been used and counted so far.
func (r *runner) mark(m *mark) error {
	*m = mark{at: r.clock(), sent: r.sent, recvd: r.recvd, own: ownCPU()}
	if f := r.referee; f != nil {
		m.offersIn, m.answersIn, m.relays = f.offersIn, f.answersIn, f.relayedIn
	}
	for _, pid := range r.cfg.PIDs {
		u, err := processUsage(pid)
		if err != nil {
			return err
		}
		m.servers = append(m.servers, u)
	}
	return nil
}

func (r *runner) faults() Faults {
	var f Faults
	if r.referee != nil {
		f = r.referee.faults
	} else {
		f.EchoesLost, f.EchoesAltered, f.Late = r.mirror.lost, r.mirror.altered, r.mirror.late
	}
	f.Malformed += r.malformed
	f.NotConnected = int64(r.failed)
	f.Disconnected = int64(r.disconnected)
	return f
}

func (r *runner) progress(now int64) {
	for r.tick <= now {
		r.tick += int64(time.Second)
	}
	if seconds := float64(now-r.last.at) / 1e9; r.cfg.Progress != nil && seconds > 0 {
		f := r.faults()
		r.cfg.Progress(Progress{
			Phase: r.phaseName, Elapsed: time.Duration(now), Connections: r.connected,
			SentRate:  int(float64(r.sent-r.last.sent) / seconds),
			RecvdRate: int(float64(r.recvd-r.last.recvd) / seconds),
			Faults:    f.Total(),
		})
	}
	r.last.sent, r.last.recvd, r.last.at = r.sent, r.recvd, now
}

// report closes the books.
func (r *runner) report() *Report {
	out := &Report{URLs: r.cfg.URLs, Shape: r.cfg.Shape, Whole: r.cfg.Whole}
	from, to := &r.marks.start, &r.marks.end
	out.Seconds = float64(to.at-from.at) / 1e9
	out.In, out.Out = to.sent-from.sent, to.recvd-from.recvd
	out.InPerSecond, out.OutPerSecond = float64(out.In)/out.Seconds, float64(out.Out)/out.Seconds
	out.Relayed = 3 * (to.relays - from.relays)
	if f := r.referee; f != nil {
		f.ledger.close()
		out.Reply, out.Answer = f.reply.summary(), f.answer.summary()
		out.RelayedAnswer = f.relayed.summary()
	} else {
		r.mirror.close()
		out.Reply, out.Answer = r.mirror.announce.summary(), r.mirror.answer.summary()
	}
	out.Faults = r.faults()
	out.MeetSeconds = r.meet.Seconds()

	connecting := float64(r.marks.connected.at-r.marks.before.at) / 1e9
	n := r.connects.n
	out.Connect = Connect{
		Connections: int(n), Seconds: connecting, PerSecond: float64(n) / connecting,
		TLS: strings.HasPrefix(r.cfg.URLs[0], "wss:"), Took: r.connects.summary(), Errors: r.connectErrors,
	}
	messages := float64(out.In + out.Out)
	perMessage := func(d time.Duration) float64 {
		if messages == 0 {
			return 0
		}
		return float64(d) / 1e3 / messages
	}
	for i, pid := range r.cfg.PIDs {
		u0, u1 := from.servers[i], to.servers[i]
		s := Server{PID: pid, CPUSeconds: (u1.cpu - u0.cpu).Seconds(), UserSeconds: (u1.user - u0.user).Seconds(), CPUPerMessage: perMessage(u1.cpu - u0.cpu)}
		conns := float64(n) / float64(len(r.cfg.PIDs))
		base := r.marks.before.servers[i].anon
		s.KiBIdle = float64(r.marks.idle.servers[i].anon-base) / 1024 / conns
		s.KiBLoaded = float64(u1.anon-base) / 1024 / conns
		out.Servers = append(out.Servers, s)
		out.CPUPerMessage += s.CPUPerMessage
		cpu := r.marks.connected.servers[i].cpu - r.marks.before.servers[i].cpu
		out.Connect.CPUPerConnection += float64(cpu) / 1e3 / float64(n)
	}
	out.Generator = Generator{
		CPUSeconds: (to.own - from.own).Seconds(), CPUPerMessage: perMessage(to.own - from.own),
		Lateness: r.lateness.summary(),
	}
	out.Generator.Starved = r.lateness.quantile(.99) > int64(starvedAfter)
	return out
}
