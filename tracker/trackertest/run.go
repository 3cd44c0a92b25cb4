package trackertest

import (
	"errors"
	"fmt"
	"regexp"
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

// receiveOne finds which one of the connections received a frame.
func (r *run) receiveOne(s *step, clients []*client) error {
	if err := r.settle(); err != nil {
		return err
	}
	var why []string
	for _, c := range clients {
		frame, ok := c.conn.Inbox().first()
		if !ok || c.stalled {
			continue
		}
		if err := r.match(s.text, frame); err != nil {
			why = append(why, c.name+": "+err.Error())
			continue
		}
		c.conn.Inbox().take()
		if s.who.alias != "" {
			r.conns[s.who.alias] = c
			r.scope.vars[s.who.alias] = c.name
		}
		return nil
	}
	return fmt.Errorf("none of them received it: %s", strings.Join(why, "; "))
}

func (r *run) receiveSet(steps []step) error {
	clients, err := r.clients(steps[0].who)
	if err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	c := clients[0]
	left := slices.Clone(steps)
	for len(left) > 0 {
		frame, ok := c.conn.Inbox().first()
		if !ok {
			return at(left[0].line, fmt.Errorf("%s: received %d frames less", c.name, len(left)))
		}
		var why error
		i := slices.IndexFunc(left, func(s step) bool {
			err := r.match(s.text, frame)
			why = errors.Join(why, err)
			return err == nil
		})
		if i < 0 {
			return fmt.Errorf("%s: received %.300s: %w", c.name, frame.data, why)
		}
		c.conn.Inbox().take()
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

var captures = regexp.MustCompile(`\$([A-Za-z_][A-Za-z0-9_]*)`)

// match says how a frame differs from the shape that text describes.
func (r *run) match(text string, frame received) error {
	if frame.binary {
		return fmt.Errorf("a binary frame: %.80q", frame.data)
	}
	return r.matchData(text, frame.data)
}

func (r *run) matchData(text string, data []byte) error {
	text, err := r.shape(text)
	if err != nil {
		return err
	}
	p, err := parsePattern(text)
	if err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	if err := p.match(data, &env{scope: r.scope, young: r.world.Kind() == KindFederated}); err != nil {
		return fmt.Errorf("%w\n got  %.500s\n want %.500s", err, data, text)
	}
	return nil
}

// shape expands a pattern, except for what it captures itself: that is not
// known before it is matched.
func (r *run) shape(text string) (string, error) {
	r.scope.lenient = true
	defer func() { r.scope.lenient = false }()
	draft, err := r.scope.expand(text)
	if err != nil {
		return "", err
	}
	for _, m := range captures.FindAllStringSubmatch(draft, -1) {
		delete(r.scope.vars, m[1])
	}
	return r.scope.expand(text)
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

func (r *run) check(text string) error {
	left, rest := splitWord(text)
	op, rest := splitWord(rest)
	l, err := r.scope.expand(left)
	if err != nil {
		return err
	}
	right, err := r.scope.expand(rest)
	if err != nil {
		return err
	}
	ok := false
	switch op {
	case "=":
		ok = l == right
	case "!=":
		ok = l != right
	case "in":
		ok = slices.Contains(strings.Fields(right), l)
	case "<", ">":
		a, err1 := strconv.Atoi(l)
		b, err2 := strconv.Atoi(right)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		ok = op == "<" && a < b || op == ">" && a > b
	}
	if !ok {
		return fmt.Errorf("not so: %s %s %s", l, op, right)
	}
	return nil
}

func (r *run) http(s *step) error {
	if s.op == opGet {
		if err := r.settle(); err != nil {
			return err
		}
		accept := ""
		for _, arg := range s.args[1:] {
			accept = strings.TrimPrefix(arg, "accept=")
		}
		page, err := r.world.Get(s.args[0], accept)
		r.page = &page
		return err
	}
	if r.page == nil {
		return fmt.Errorf("nothing was fetched")
	}
	if s.op == opGetBody {
		return r.matchData(s.text, r.page.Body)
	}
	if r.page.Status != s.n {
		return fmt.Errorf("status %d, want %d", r.page.Status, s.n)
	}
	if len(s.args) > 0 && !strings.HasPrefix(r.page.ContentType, s.args[0]) {
		return fmt.Errorf("content type %q, want %s", r.page.ContentType, s.args[0])
	}
	return nil
}
