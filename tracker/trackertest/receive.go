package trackertest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

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
