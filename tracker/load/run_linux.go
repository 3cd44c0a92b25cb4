package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/epoll"
)

// Run loads the servers of a configuration and reports what it saw. An error
// means that there is no report; faults of the servers are in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r, err := newRunner(cfg)
	if err != nil {
		return nil, err
	}
	// One thread for the loop: it makes system calls that do not let go of it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer r.close(cancel)
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return r.report(), nil
}

// runner is the event loop. Everything in it belongs to the goroutine of Run,
// but for what dialer says of itself.
type runner struct {
	cfg    Config
	script *script
	// Either judges what comes.
	referee *referee
	mirror  *mirror

	poller  *epoll.Poller
	dialer  *dialer
	clients []client
	dirty   []int32
	buf     []byte
	pool    [][]byte
	events  []epoll.Event
	rng     *rand.Rand

	began time.Time
	now   int64 // nanoseconds since then, of the latest read

	connected, disconnected, failed int
	malformed                       int64
	sent, recvd                     int64 // text messages
	connects                        histogram
	connectErrors                   []string

	// The schedule: client order[k] is due at phase[k] of each period.
	pacing   bool
	order    []int32
	phase    []int64
	cursor   int
	period   int64 // when the present period began
	lateness histogram

	phaseName string
	tick      int64 // when progress is due
	look      int64 // when complete looks again
	last      struct{ sent, recvd, at int64 }
	seen      struct{ recvd, at int64 } // when something last came

	marks struct{ before, idle, start, end, connected mark }
	meet  time.Duration
}

// mark is what had been used and counted at some time.
type mark struct {
	at                          int64
	sent, recvd                 int64
	offersIn, answersIn, relays int64
	own                         time.Duration
	servers                     []usage
}

func newRunner(cfg Config) (*runner, error) {
	if n := MaxConnections(); cfg.Connections > n {
		return nil, fmt.Errorf("the limit on open files has room for %d connections, not %d: raise it with ulimit -n", n, cfg.Connections)
	}
	poller, err := epoll.NewPoller(1024)
	if err != nil {
		return nil, err
	}
	r := &runner{
		cfg: cfg, poller: poller,
		clients: make([]client, cfg.Connections),
		buf:     make([]byte, 256<<10),
		events:  make([]epoll.Event, 0, 1024),
		rng:     rand.New(rand.NewChaCha8(cfg.Seed)),
		began:   time.Now(),
	}
	r.tick = int64(time.Second)
	if r.dialer, err = newDialer(&r.cfg, poller.Wake); err != nil {
		return nil, errors.Join(err, poller.Close())
	}
	r.script = newScript(&r.cfg, r.rng)
	if cfg.Echo {
		r.mirror = newMirror(&r.cfg, r.script)
	} else {
		r.referee = newReferee(&r.cfg, r.script, r.ledgerSize())
	}
	return r, nil
}

// ledgerSize has room for the announces of some seconds: what takes longer is
// lost.
func (r *runner) ledgerSize() int {
	n := 2 * r.cfg.Connections
	if r.cfg.Every > 0 {
		n += int(float64(r.cfg.Connections) * float64(20*time.Second) / float64(r.cfg.Every))
	}
	return min(n, 4<<20)
}

func (r *runner) close(cancel func()) {
	cancel()
	r.dialer.group.Wait()
	for {
		select {
		case d := <-r.dialer.done:
			if d.err == nil {
				unix.Close(d.fd)
			}
			continue
		default:
		}
		break
	}
	for i := range r.clients {
		if r.clients[i].open {
			unix.Close(r.clients[i].fd)
		}
	}
	r.poller.Close()
}

func (r *runner) clock() int64 { return int64(time.Since(r.began)) }

// run goes through the phases.
func (r *runner) run(ctx context.Context) error {
	cfg := &r.cfg
	if err := r.mark(&r.marks.before); err != nil {
		return err
	}
	r.phaseName = "connecting"
	r.dialer.start(ctx)
	all := func() bool { return r.connected+r.disconnected+r.failed == cfg.Connections }
	if err := r.spin(ctx, time.Hour, all); err != nil {
		return err
	}
	if err := r.mark(&r.marks.connected); err != nil {
		return err
	}
	if r.connected == 0 {
		if len(r.connectErrors) > 0 {
			return fmt.Errorf("no connection: %s", r.connectErrors[0])
		}
		return errors.New("all connections are closed at once")
	}
	r.phaseName = "joining"
	if err := r.spin(ctx, time.Minute, r.replied); err != nil {
		return err
	}
	if r.referee != nil {
		if len(cfg.URLs) > 1 && !cfg.Whole {
			if err := r.meetUp(ctx); err != nil {
				return err
			}
		}
		r.referee.joined = true
	}
	r.phaseName = "settling"
	if err := r.spin(ctx, cfg.Settle, nil); err != nil {
		return err
	}
	if err := r.mark(&r.marks.idle); err != nil {
		return err
	}
	if cfg.Every > 0 {
		r.phaseName = "warming up"
		r.schedule()
		if err := r.spin(ctx, min(cfg.Every, 5*time.Second), nil); err != nil {
			return err
		}
	}
	r.measure(true)
	r.phaseName = "measuring"
	if err := r.mark(&r.marks.start); err != nil {
		return err
	}
	if err := r.spin(ctx, cfg.For, nil); err != nil {
		return err
	}
	if err := r.mark(&r.marks.end); err != nil {
		return err
	}
	r.measure(false)
	r.pacing = false
	r.phaseName = "draining"
	return r.spin(ctx, cfg.Drain, r.complete)
}

func (r *runner) measure(on bool) {
	if r.referee != nil {
		r.referee.measuring = on
	} else {
		r.mirror.measuring = on
	}
}

// quiet: no client waits for a reply.
func (r *runner) quiet() bool {
	if r.referee != nil {
		return r.referee.waiting == 0
	}
	return r.mirror.waiting == 0
}

// replied: the first announces were, or nothing comes any more.
func (r *runner) replied() bool {
	if now := r.clock(); r.seen.recvd != r.recvd || r.seen.at == 0 {
		r.seen.recvd, r.seen.at = r.recvd, now
	} else if now-r.seen.at > int64(r.cfg.Drain) {
		return true
	}
	return r.quiet()
}

// complete: nothing is under way.
func (r *runner) complete() bool {
	if !r.quiet() {
		return false
	}
	if r.referee == nil {
		return true
	}
	// The referee looks at all that was sent: not each time round.
	if now := r.clock(); now >= r.look {
		r.look = now + int64(20*time.Millisecond)
		return r.referee.complete()
	}
	return false
}

// meetUp lets one client of each half of each swarm announce until the replies
// count both halves.
func (r *runner) meetUp(ctx context.Context) error {
	r.phaseName = "meeting"
	began := time.Now()
	f := r.referee
	f.met = make([]bool, r.cfg.Swarms)
	halves := make([]bool, 2*r.cfg.Swarms)
	for time.Since(began) < r.cfg.Meet {
		all := true
		for s := range r.cfg.Swarms {
			all = all && halves[2*s] && halves[2*s+1]
		}
		if all {
			break
		}
		for half := range 2 {
			clear(f.met)
			for s := range r.cfg.Swarms {
				if i := s + half*r.cfg.Swarms; !halves[2*s+half] && i < r.cfg.Connections && r.clients[i].open {
					r.announce(i, false, 0)
				}
			}
			if err := r.spin(ctx, time.Second, r.quiet); err != nil {
				return err
			}
			for s, met := range f.met {
				halves[2*s+half] = halves[2*s+half] || met
			}
		}
		if err := r.spin(ctx, 500*time.Millisecond, nil); err != nil {
			return err
		}
	}
	for s := range r.cfg.Swarms {
		if !halves[2*s] || !halves[2*s+1] {
			f.faults.NeverMet++
		}
	}
	r.meet = time.Since(began)
	return nil
}

// spin runs the loop for a time, or until it is done.
func (r *runner) spin(ctx context.Context, d time.Duration, done func() bool) error {
	until := r.clock() + int64(max(d, 0))
	for {
		now := r.clock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if now >= until || done != nil && done() {
			return nil
		}
		wake := min(until, now+int64(100*time.Millisecond), r.tick)
		if r.pacing {
			wake = min(wake, r.due(now))
		}
		r.flush()
		if now >= r.tick {
			r.progress(now)
		}
		// In whole milliseconds, rounded up: never early.
		wait := max(0, (wake-r.clock()+int64(time.Millisecond)-1)/int64(time.Millisecond))
		events, woken, err := r.poller.Wait(r.events[:0], int(wait))
		if err != nil {
			return err
		}
		if woken {
			r.arrivals()
		}
		for _, e := range events {
			i := int(e.Data)
			if !r.clients[i].open {
				continue
			}
			if e.Ready&epoll.Writable != 0 {
				r.send(i)
			}
			if e.Ready&^epoll.Writable != 0 && r.clients[i].open {
				r.read(i)
			}
		}
		r.flush()
	}
}

// arrivals takes the connections that the dialer has made.
func (r *runner) arrivals() {
	for {
		select {
		case d := <-r.dialer.done:
			r.arrive(d)
		default:
			return
		}
	}
}

func (r *runner) arrive(d dialled) {
	if d.err == nil {
		d.err = r.poller.Add(d.fd, uint64(d.conn), epoll.Readable)
		if d.err != nil {
			unix.Close(d.fd)
		}
	}
	if d.err != nil {
		r.failed++
		if text := d.err.Error(); len(r.connectErrors) < 5 && !slices.Contains(r.connectErrors, text) {
			r.connectErrors = append(r.connectErrors, text)
		}
		return
	}
	c := &r.clients[d.conn]
	*c = client{fd: d.fd, tls: d.tls, open: true, joined: true}
	r.connected++
	r.connects.add(int64(d.took))
	if r.referee != nil {
		r.referee.join(d.conn)
	}
	r.now = r.clock()
	r.announce(d.conn, true, 0)
	if len(d.rest) > 0 {
		if r.feed(d.conn, d.rest) != nil {
			r.drop(d.conn)
		}
	}
	if c.tls != nil && c.open { // what crypto/tls has read ahead
		r.read(d.conn)
	}
}
