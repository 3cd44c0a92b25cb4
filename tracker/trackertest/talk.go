package trackertest

import (
	"bufio"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is a kind of target; a talk lists those on which it runs.
type Kind string

const (
	KindCore      Kind = "core"
	KindServer    Kind = "server"
	KindSockets   Kind = "sockets"
	KindFederated Kind = "federated"
)

// Talk is one conversation.
type Talk struct {
	File  string
	Title string
	// Cases are the numbers of the conformance cases that it holds.
	Cases []int
	On    []Kind
	// With are the settings of the tracker: name or name=value.
	With  []string
	lets  map[string]string
	steps []step
}

// Name identifies the talk in a list of tests.
func (t *Talk) Name() string {
	return strings.TrimSuffix(t.File, ".talk") + "/" + strings.ReplaceAll(t.Title, " ", "_")
}

// op is what a step does.
type op uint8

const (
	opOpen op = iota
	opSend
	opReceive
	opReceiveSet
	opNothing
	opPing
	opPinged
	opStall
	opClose
	opDrop
	opClosed
	opGone
	opAlive
	opFuzz
	opAdvance
	opSwarms
	opDrain
	opShutdown
	opGet
	opGetStatus
	opGetBody
	opCheck
	opCollect
	opRepeat
)

// step is one line, or for a repeat the lines up to its end.
type step struct {
	line int
	op   op
	who  subject
	text string   // frames, patterns; still to be expanded
	args []string // words; still to be expanded
	how  framing
	n    int
	d    time.Duration
	name string // of a loop's variable or a set
	body []step
}

// subject is whose line it is.
type subject struct {
	names []string // as written; may hold variables and ranges
	one   bool     // exactly one of them
	alias string
}

// framing is how a frame is put on the wire.
type framing uint8

const (
	framingText framing = iota
	framingBinary
	framingSplit
	framingBytes
)

// Load reads all talks of a folder.
func Load(fsys fs.FS) ([]*Talk, error) {
	names, err := fs.Glob(fsys, "*.talk")
	if err != nil {
		return nil, err
	}
	var all []*Talk
	for _, name := range names {
		talks, err := Parse(fsys, name)
		if err != nil {
			return nil, err
		}
		all = append(all, talks...)
	}
	return all, nil
}

// Parse reads one talk file and those that it uses.
func Parse(fsys fs.FS, name string) ([]*Talk, error) {
	p := &parser{fsys: fsys, name: name, lets: map[string]string{}}
	if err := p.file(name, false); err != nil {
		return nil, err
	}
	if len(p.open) > 0 {
		return nil, fmt.Errorf("%s: repeat without end", name)
	}
	if len(p.talks) == 0 || len(p.cases) == 0 {
		return nil, fmt.Errorf("%s: no case or no talk", name)
	}
	for _, t := range p.talks {
		t.Cases = p.cases
		if len(t.On) == 0 {
			return nil, fmt.Errorf("%s: %q runs on nothing", name, t.Title)
		}
		if len(t.steps) == 0 {
			return nil, fmt.Errorf("%s: %q says nothing", name, t.Title)
		}
	}
	return p.talks, nil
}

type parser struct {
	fsys  fs.FS
	name  string
	line  int
	cases []int
	on    []Kind
	lets  map[string]string
	talks []*Talk
	open  []*step // repeats not yet ended, outermost first
}

func (p *parser) file(name string, included bool) error {
	data, err := fs.ReadFile(p.fsys, path.Clean(name))
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(strings.NewReader(string(data)))
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		p.line = n
		if included && !strings.HasPrefix(line, "let ") {
			err = fmt.Errorf("only let belongs in a used file")
		} else {
			err = p.parseLine(line)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return sc.Err()
}

// talk is the one being read; nil in the file's head.
func (p *parser) talk() *Talk {
	if len(p.talks) == 0 {
		return nil
	}
	return p.talks[len(p.talks)-1]
}

func (p *parser) parseLine(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if head, err := p.head(word, rest); head || err != nil {
		return err
	}
	if p.talk() == nil {
		return fmt.Errorf("%q before the first talk", word)
	}
	if word == "end" {
		return p.end(rest)
	}
	s, err := parseStep(line, word, rest)
	if err != nil {
		return err
	}
	s.line = p.line
	if s.op == opRepeat {
		p.open = append(p.open, &s)
		return nil
	}
	p.add(s)
	return nil
}

func (p *parser) add(s step) {
	if n := len(p.open); n > 0 {
		p.open[n-1].body = append(p.open[n-1].body, s)
		return
	}
	t := p.talk()
	t.steps = append(t.steps, s)
}

func (p *parser) end(rest string) error {
	n := len(p.open)
	if n == 0 || rest != "" {
		return fmt.Errorf("stray end")
	}
	s := p.open[n-1]
	p.open = p.open[:n-1]
	p.add(*s)
	return nil
}

// head reads the lines that are not steps.
func (p *parser) head(word, rest string) (bool, error) {
	t := p.talk()
	switch word {
	case "case":
		if t != nil {
			return true, fmt.Errorf("case belongs to the head of the file")
		}
		for f := range strings.FieldsSeq(rest) {
			n, err := strconv.Atoi(f)
			if err != nil || n < 1 || n > 49 {
				return true, fmt.Errorf("no case %q", f)
			}
			p.cases = append(p.cases, n)
		}
	case "use":
		return true, p.file(rest, true)
	case "let":
		name, text, ok := strings.Cut(rest, "=")
		name = strings.TrimSpace(name)
		if !ok || !isName(name) {
			return true, fmt.Errorf("let wants: name = text")
		}
		lets := p.lets
		if t != nil {
			lets = t.lets
		}
		lets[name] = strings.TrimSpace(text)
	case "talk":
		if len(p.open) > 0 {
			return true, fmt.Errorf("talk within a repeat")
		}
		if rest == "" {
			return true, fmt.Errorf("talk wants a title")
		}
		for _, other := range p.talks {
			if other.Title == rest {
				return true, fmt.Errorf("two talks with one title")
			}
		}
		lets := make(map[string]string, len(p.lets))
		for k, v := range p.lets {
			lets[k] = v
		}
		p.talks = append(p.talks, &Talk{File: p.name, Title: rest, On: p.on, lets: lets})
	case "on":
		var on []Kind
		for f := range strings.FieldsSeq(rest) {
			k := Kind(f)
			if !slices.Contains([]Kind{KindCore, KindServer, KindSockets, KindFederated}, k) {
				return true, fmt.Errorf("no target is called %q", f)
			}
			on = append(on, k)
		}
		if t == nil {
			p.on = on
		} else {
			t.On = on
		}
	case "with":
		if t == nil {
			return true, fmt.Errorf("with belongs to a talk")
		}
		t.With = append(t.With, strings.Fields(rest)...)
	default:
		return false, nil
	}
	return true, nil
}

// isName says whether s can name a variable or a connection.
func isName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
