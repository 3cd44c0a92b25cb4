package trackertest

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseStep reads one line of a talk.
func parseStep(line, word, rest string) (step, error) {
	fields := strings.Fields(rest)
	switch word {
	case "advance":
		d, err := time.ParseDuration(rest)
		if err != nil || d <= 0 {
			return step{}, fmt.Errorf("advance wants a duration, not %q", rest)
		}
		return step{op: opAdvance, d: d}, nil
	case "swarms":
		return number(step{op: opSwarms}, fields, 0)
	case "drain", "shutdown":
		if rest != "" {
			return step{}, fmt.Errorf("%s stands alone", word)
		}
		if word == "drain" {
			return step{op: opDrain}, nil
		}
		return step{op: opShutdown}, nil
	case "http":
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "/") {
			return step{}, fmt.Errorf("http wants a path")
		}
		return step{op: opGet, args: fields}, options(fields[1:], "accept")
	case "http<":
		if strings.HasPrefix(rest, "{") {
			return step{op: opGetBody, text: rest}, nil
		}
		if len(fields) == 0 {
			return step{}, fmt.Errorf("http< wants a status or a pattern")
		}
		n, err := strconv.Atoi(fields[0])
		if err != nil {
			return step{}, fmt.Errorf("no status: %q", fields[0])
		}
		return step{op: opGetStatus, n: n, args: fields[1:]}, nil
	case "check":
		if len(fields) < 3 || !slices.Contains([]string{"=", "!=", "in", "<", ">"}, operator(rest)) {
			return step{}, fmt.Errorf("check wants: x = y (or !=, in, <, >)")
		}
		return step{op: opCheck, text: rest}, nil
	case "collect":
		if len(fields) < 2 || !isName(fields[0]) {
			return step{}, fmt.Errorf("collect wants a set and a value")
		}
		_, value, _ := strings.Cut(rest, " ")
		return step{op: opCollect, name: fields[0], text: strings.TrimSpace(value)}, nil
	case "repeat":
		if len(fields) == 3 && fields[1] == "as" && isName(fields[2]) {
			return number(step{op: opRepeat, name: fields[2]}, fields[:1], 1)
		}
		return number(step{op: opRepeat}, fields, 1)
	}
	return parseSaying(line)
}

// operator finds a check's operator; variables before it may hold spaces.
func operator(text string) string {
	left, _ := splitWord(text)
	op, _ := splitWord(strings.TrimSpace(text[len(left):]))
	return op
}

func number(s step, fields []string, least int) (step, error) {
	if len(fields) != 1 {
		return s, fmt.Errorf("one number is wanted")
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil || n < least {
		return s, fmt.Errorf("not a number of %d or more: %q", least, fields[0])
	}
	s.n = n
	return s, nil
}

func options(fields []string, known ...string) error {
	for _, f := range fields {
		name, _, ok := strings.Cut(f, "=")
		if !ok || !slices.Contains(known, name) {
			return fmt.Errorf("unknown option %q", f)
		}
	}
	return nil
}

// parseSaying reads the lines that begin with connections.
func parseSaying(line string) (step, error) {
	i := sayingMark(line)
	if i < 0 {
		return step{}, fmt.Errorf("unknown line %q", line)
	}
	who, err := parseSubject(strings.TrimSpace(line[:i]))
	if err != nil {
		return step{}, err
	}
	s := step{who: who}
	rest := strings.TrimSpace(line[i+1:])
	switch line[i] {
	case '>':
		s.op = opSend
		return parseSend(s, rest)
	case '<':
		s.op = opReceive
		if rest == "nothing" {
			s.op = opNothing
			break
		}
		if set, ok := strings.CutPrefix(rest, "* "); ok {
			s.op, rest = opReceiveSet, strings.TrimSpace(set)
		}
		if rest == "" || !strings.ContainsAny(rest[:1], "{$") {
			return s, fmt.Errorf("a frame's shape is an object, not %q", rest)
		}
		s.text = rest
		if s.op == opReceiveSet && (s.who.one || len(s.who.names) != 1) {
			return s, fmt.Errorf("a set is of one connection")
		}
		return s, nil
	default:
		s, err = parseDeed(s, rest)
		if err != nil {
			return s, err
		}
	}
	if s.who.one {
		return s, fmt.Errorf("only a frame tells which one it is")
	}
	return s, nil
}

// sayingMark finds the :, > or < that ends the subject.
func sayingMark(line string) int {
	depth := 0
	for i := range len(line) {
		switch line[i] {
		case '{':
			depth++
		case '}':
			depth--
		case ':', '>', '<':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

func parseSubject(text string) (subject, error) {
	var s subject
	text, s.alias, _ = strings.Cut(text, " as ")
	sep := ","
	if s.alias != "" || strings.Contains(text, "|") {
		s.one, sep = true, "|"
	}
	if s.alias != "" && !isName(s.alias) {
		return s, fmt.Errorf("%q names no connection", s.alias)
	}
	for name := range strings.SplitSeq(text, sep) {
		name = strings.TrimSpace(name)
		for part := range strings.SplitSeq(name, "..") {
			if i := strings.Index(part, "${"); i >= 0 {
				part = part[:i]
			}
			if !isName(part) {
				return s, fmt.Errorf("%q names no connection", name)
			}
		}
		s.names = append(s.names, name)
	}
	return s, nil
}

func parseSend(s step, rest string) (step, error) {
	switch word, more, _ := strings.Cut(rest, " "); word {
	case "binary":
		s.how, rest = framingBinary, more
	case "split":
		s.how = framingSplit
		n, text, _ := strings.Cut(strings.TrimSpace(more), " ")
		var err error
		if s, err = number(s, []string{n}, 2); err != nil {
			return s, err
		}
		rest = text
	case "bytes":
		s.how = framingBytes
		raw, err := hex.DecodeString(strings.ReplaceAll(more, " ", ""))
		if err != nil {
			return s, err
		}
		s.text = string(raw)
		return s, nil
	}
	s.text = strings.TrimSpace(rest)
	return s, nil
}

func parseDeed(s step, rest string) (step, error) {
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return s, fmt.Errorf("does what?")
	}
	plain := map[string]op{"ping": opPing, "pinged": opPinged, "stall": opStall,
		"close": opClose, "drop": opDrop, "gone": opGone, "alive": opAlive}
	if o, ok := plain[fields[0]]; ok && len(fields) == 1 {
		s.op = o
		return s, nil
	}
	switch fields[0] {
	case "open":
		s.op = opOpen
		s.text = "/"
		args := fields[1:]
		if len(args) > 0 && strings.HasPrefix(args[0], "/") {
			s.text, args = args[0], args[1:]
		}
		s.args = args
		return s, options(args, "origin", "extensions", "protocol", "from", "status", "node")
	case "closed":
		s.op = opClosed
		return number(s, fields[1:], 1000)
	case "fuzz":
		s.op = opFuzz
		if len(fields) != 3 {
			return s, fmt.Errorf("fuzz wants a number of frames and a seed")
		}
		s.name = fields[2]
		return number(s, fields[1:2], 1)
	}
	return s, fmt.Errorf("unknown deed %q", rest)
}
