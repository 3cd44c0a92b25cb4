package trackertest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Run plays a talk in a world made for it and says where they part.
func Run(t *Talk, w World) error {
	if !slices.Contains(t.On, w.Kind()) {
		return fmt.Errorf("%s does not run on %s", t.Name(), w.Kind())
	}
	r := &run{world: w, scope: newScope(t.lets), conns: map[string]*client{}}
	if err := r.steps(t.steps); err != nil {
		return err
	}
	return r.leftOver()
}

// run is a talk being played.
type run struct {
	world World
	scope *scope
	conns map[string]*client
	order []string // names, as first opened
	page  *Page
	// busy: something was done since the world last settled, by actor.
	busy  bool
	actor *client
}

// client is one connection and what the talk did to it.
type client struct {
	name string
	conn Conn
	// ended: by the client, or the talk knows that the server did.
	ended, stalled bool
}

func (r *run) steps(steps []step) error {
	for i := 0; i < len(steps); i++ {
		s := &steps[i]
		if s.op != opReceiveSet {
			if err := r.step(s); err != nil {
				return at(s.line, err)
			}
			continue
		}
		// Consecutive lines of one connection are one set.
		n := 1
		for i+n < len(steps) && steps[i+n].op == opReceiveSet && steps[i+n].who.names[0] == s.who.names[0] {
			n++
		}
		if err := r.receiveSet(steps[i : i+n]); err != nil {
			return at(s.line, err)
		}
		i += n - 1
	}
	return nil
}

// lineError is an error that knows its line.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func at(line int, err error) error {
	if known := new(lineError); errors.As(err, &known) {
		return err
	}
	return &lineError{line, err}
}

func (r *run) step(s *step) error {
	switch s.op {
	case opRepeat:
		for i := range s.n {
			if s.name != "" {
				r.scope.vars[s.name] = strconv.Itoa(i + 1)
			}
			if err := r.steps(s.body); err != nil {
				return fmt.Errorf("round %d: %w", i+1, err)
			}
		}
		return nil
	case opAdvance:
		if err := r.settle(); err != nil {
			return err
		}
		r.busy = true
		return r.world.Advance(s.d)
	case opSwarms:
		if err := r.settle(); err != nil {
			return err
		}
		if n := r.world.Swarms(); n != s.n {
			return fmt.Errorf("%d swarms, want %d", n, s.n)
		}
		return nil
	case opDrain:
		r.busy = true
		return r.world.Drain()
	case opShutdown:
		r.busy = true
		return r.world.Shutdown()
	case opGet, opGetStatus, opGetBody:
		return r.http(s)
	case opCheck:
		return r.check(s.text)
	case opCollect:
		v, err := r.scope.expand(s.text)
		if err != nil {
			return err
		}
		if r.scope.sets[s.name] == nil {
			r.scope.sets[s.name] = map[string]bool{}
		}
		r.scope.sets[s.name][v] = true
		return nil
	case opOpen:
		names, err := r.names(s.who)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.open(name, s); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
	return r.each(s)
}

// each does a step for each of its connections.
func (r *run) each(s *step) error {
	clients, err := r.clients(s.who)
	if err != nil {
		return err
	}
	if s.op == opReceive && s.who.one {
		return r.receiveOne(s, clients)
	}
	for _, c := range clients {
		if err := r.deed(s, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (r *run) open(name string, s *step) error {
	if old := r.conns[name]; old != nil && !old.ended {
		return fmt.Errorf("is open already")
	}
	path, err := r.scope.expand(s.text)
	if err != nil {
		return err
	}
	o := Open{Path: path, Node: len(r.order)%2 + 1}
	status := 0
	for _, arg := range s.args {
		if arg, err = r.scope.expand(arg); err != nil {
			return err
		}
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "origin":
			o.Origin = value
		case "extensions":
			o.Extensions = value
		case "protocol":
			o.Protocol = value
		case "from":
			o.From = value
		case "node":
			o.Node, err = strconv.Atoi(value)
		case "status":
			if status = anyRefusal; value != "none" {
				status, err = strconv.Atoi(value)
			}
		}
		if err != nil {
			return err
		}
	}
	// Who was there first matters: let what came before arrive.
	if err := r.settle(); err != nil {
		return err
	}
	r.busy = true
	conn, err := r.world.Open(o)
	refused := new(RefusedError)
	if err != nil && status == anyRefusal || errors.As(err, &refused) && status == refused.Status {
		return nil
	}
	if err != nil {
		return err
	}
	r.conns[name] = &client{name: name, conn: conn}
	r.order = append(r.order, name)
	if status != 0 {
		return fmt.Errorf("was let in, want status %d", status)
	}
	return nil
}

// anyRefusal stands for status=none: not let in, whether or not anybody says.
const anyRefusal = -1

func (r *run) deed(s *step, c *client) error {
	if c.ended {
		return fmt.Errorf("has ended")
	}
	if acts(s.op) {
		return r.act(s, c)
	}
	if err := r.settle(); err != nil {
		return err
	}
	if c.stalled {
		c.conn.Probe()
	}
	closed, code := c.conn.Inbox().IsClosed()
	switch s.op {
	case opReceive:
		frame, ok := c.conn.Inbox().first()
		if !ok {
			return fmt.Errorf("received nothing (closed: %v)", closed)
		}
		c.conn.Inbox().take()
		return r.match(s.text, frame)
	case opNothing:
		if frame, ok := c.conn.Inbox().first(); ok {
			return fmt.Errorf("received %.300s", frame.data)
		}
	case opPinged:
		if c.conn.Inbox().takePings() == 0 {
			return fmt.Errorf("was not pinged")
		}
	case opClosed, opGone:
		c.ended = true
		if !closed {
			return fmt.Errorf("is still open")
		}
		if s.op == opClosed && code != s.n {
			return fmt.Errorf("closed with %d, want %d", code, s.n)
		}
	case opAlive:
		if closed {
			return fmt.Errorf("closed with %d", code)
		}
	}
	return nil
}

func acts(o op) bool {
	return o == opSend || o == opPing || o == opStall || o == opClose || o == opDrop || o == opFuzz
}

// act does something with one connection. What another one did before has had
// its effects by then, or their order would be the network's.
func (r *run) act(s *step, c *client) error {
	if r.actor != c || s.op == opStall {
		if err := r.settle(); err != nil {
			return err
		}
	}
	r.busy, r.actor = true, c
	switch s.op {
	case opSend:
		return r.send(s, c)
	case opPing:
		return c.conn.Ping()
	case opStall:
		c.stalled = true
		c.conn.Stall()
	case opClose:
		c.ended = true
		c.conn.Close()
	case opDrop:
		c.ended = true
		c.conn.Drop()
	case opFuzz:
		return r.fuzz(s, c)
	}
	return nil
}

func (r *run) send(s *step, c *client) error {
	if s.how == framingBytes {
		return c.conn.Send(Frame{Data: []byte(s.text)})
	}
	text, err := r.scope.expand(s.text)
	if err != nil {
		return err
	}
	return c.conn.Send(Frame{Data: []byte(text), Binary: s.how == framingBinary, Pieces: s.n})
}

func (r *run) settle() error {
	if !r.busy {
		return nil
	}
	r.busy = false
	return r.world.Settle()
}

// names resolves a subject to names of connections.
func (r *run) names(who subject) ([]string, error) {
	var out []string
	for _, raw := range who.names {
		name, err := r.scope.expand(raw)
		if err != nil {
			return nil, err
		}
		first, last, isRange := strings.Cut(name, "..")
		if !isRange {
			out = append(out, name)
			continue
		}
		prefix := strings.TrimRight(first, "0123456789")
		from, err1 := strconv.Atoi(first[len(prefix):])
		to, err2 := strconv.Atoi(strings.TrimPrefix(last, prefix))
		if err1 != nil || err2 != nil || from > to {
			return nil, fmt.Errorf("no range: %q", name)
		}
		for i := from; i <= to; i++ {
			out = append(out, prefix+strconv.Itoa(i))
		}
	}
	return out, nil
}

func (r *run) clients(who subject) ([]*client, error) {
	names, err := r.names(who)
	if err != nil {
		return nil, err
	}
	var out []*client
	for _, name := range names {
		c := r.conns[name]
		if c == nil {
			return nil, fmt.Errorf("%s was never opened", name)
		}
		out = append(out, c)
	}
	return out, nil
}

// leftOver fails a talk that did not account for all that was received.
func (r *run) leftOver() error {
	if err := r.settle(); err != nil {
		return err
	}
	for _, name := range r.order {
		c := r.conns[name]
		if c.ended || c.stalled {
			continue
		}
		if frame, ok := c.conn.Inbox().first(); ok {
			return fmt.Errorf("at the end, %s has received more: %.300s", name, frame.data)
		}
		if closed, code := c.conn.Inbox().IsClosed(); closed {
			return fmt.Errorf("at the end, %s is closed with %d", name, code)
		}
	}
	return nil
}
