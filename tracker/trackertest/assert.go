package trackertest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
