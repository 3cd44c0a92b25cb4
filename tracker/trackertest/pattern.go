package trackertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pattern is the shape that a JSON value is to have.
type pattern interface {
	// match says why raw is not of the shape. It may set variables.
	match(raw json.RawMessage, e *env) error
}

// env is what a match knows and learns.
type env struct {
	scope *scope
	// young: two nodes that may not have heard of each other yet.
	young bool
}

type (
	// objectPattern has these members and, if open, perhaps others.
	objectPattern struct {
		keys   []string
		values []pattern
		open   bool
	}
	arrayPattern   []pattern
	stringPattern  string // decoded
	literalPattern string // a number, true, false, null
	// rawPattern is compared byte for byte; its variables are expanded when
	// it is reached, so that a capture to the left can be used.
	rawPattern     string
	capturePattern string
	aboutPattern   int
	namedPattern   string
)

func (p objectPattern) match(raw json.RawMessage, e *env) error {
	keys, values, err := members(raw)
	if err != nil {
		return err
	}
	byKey := make(map[string]json.RawMessage, len(keys))
	for i, k := range keys {
		if _, twice := byKey[k]; twice {
			return fmt.Errorf("member %q comes twice", k)
		}
		byKey[k] = values[i]
	}
	for i, k := range p.keys {
		k, err := e.scope.expand(k)
		if err != nil {
			return err
		}
		v, ok := byKey[k]
		if !ok {
			return fmt.Errorf("no member %q", k)
		}
		delete(byKey, k)
		if err := p.values[i].match(v, e); err != nil {
			return fmt.Errorf("%q: %w", k, err)
		}
	}
	for k := range byKey {
		if !p.open {
			return fmt.Errorf("member %q should not be there", k)
		}
	}
	return nil
}

func (p arrayPattern) match(raw json.RawMessage, e *env) error {
	var got []json.RawMessage
	if err := json.Unmarshal(raw, &got); err != nil || raw[0] != '[' {
		return fmt.Errorf("not an array: %.80s", raw)
	}
	if len(got) != len(p) {
		return fmt.Errorf("%d elements, want %d", len(got), len(p))
	}
	for i, v := range got {
		if err := p[i].match(v, e); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func (p stringPattern) match(raw json.RawMessage, e *env) error {
	want, err := e.scope.expand(string(p))
	if err != nil {
		return err
	}
	if want, err = unquote(`"` + want + `"`); err != nil {
		return fmt.Errorf("the pattern is no string: %w", err)
	}
	got, err := unquote(string(raw))
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%.80q, want %.80q", got, want)
	}
	return nil
}

func (p literalPattern) match(raw json.RawMessage, _ *env) error {
	if string(raw) != string(p) {
		return fmt.Errorf("%.80s, want %s", raw, string(p))
	}
	return nil
}

func (p rawPattern) match(raw json.RawMessage, e *env) error {
	want, err := e.scope.expand(string(p))
	if err != nil {
		return err
	}
	if string(raw) != want {
		return fmt.Errorf("bytes %.200s, want %.200s", raw, want)
	}
	return nil
}

func (p capturePattern) match(raw json.RawMessage, e *env) error {
	text := string(raw)
	if s, err := unquote(text); err == nil {
		text = s
	}
	e.scope.vars[string(p)] = text
	return nil
}

func (p aboutPattern) match(raw json.RawMessage, e *env) error {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return fmt.Errorf("%.80s is no integer", raw)
	}
	if n == int(p) || e.young && n >= 0 && n < int(p) {
		return nil
	}
	return fmt.Errorf("%d, want %d", n, int(p))
}

func (p namedPattern) match(raw json.RawMessage, _ *env) error {
	switch p {
	case "any":
		return nil
	case "int", "interval":
		n, err := strconv.Atoi(string(raw))
		if err != nil {
			return fmt.Errorf("%.80s is no integer", raw)
		}
		if p == "interval" && (n < 30 || n > 3600) {
			return fmt.Errorf("an interval of %d s", n)
		}
		return nil
	default: // string, reason
		s, err := unquote(string(raw))
		if err == nil && p == "reason" && strings.TrimSpace(s) == "" {
			return fmt.Errorf("an empty reason")
		}
		return err
	}
}

// unquote decodes one JSON string.
func unquote(raw string) (string, error) {
	if raw == "" || raw[0] != '"' {
		return "", fmt.Errorf("not a string: %.80s", raw)
	}
	var s string
	err := json.Unmarshal([]byte(raw), &s)
	return s, err
}

// members cuts an object into its members, as they were written.
func members(raw json.RawMessage) (keys []string, values []json.RawMessage, err error) {
	if !utf8.Valid(raw) {
		return nil, nil, fmt.Errorf("not UTF-8: %.80q", raw)
	}
	if !json.Valid(raw) {
		return nil, nil, fmt.Errorf("not JSON: %.80s", raw)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, nil, fmt.Errorf("not an object: %.80s", raw)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, err
		}
		keys, values = append(keys, key.(string)), append(values, v)
	}
	return keys, values, nil
}

// parsePattern reads a pattern's text. Variables outside strings and
// backquotes have been expanded; those within are left to the match.
func parsePattern(text string) (pattern, error) {
	p := &patternParser{rest: text}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, fmt.Errorf("after the pattern: %.40s", p.rest)
	}
	return v, nil
}

type patternParser struct{ rest string }

func (p *patternParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

// take removes lit from the front, if it is there.
func (p *patternParser) take(lit string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, lit)
	p.rest = rest
	return ok
}

func (p *patternParser) value(depth int) (pattern, error) {
	p.space()
	if p.rest == "" || depth > maxDepth {
		return nil, fmt.Errorf("a value is missing")
	}
	switch c := p.rest[0]; c {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		s, err := p.quoted()
		return stringPattern(s), err
	case '`':
		text, rest, ok := strings.Cut(p.rest[1:], "`")
		if !ok {
			return nil, fmt.Errorf("no end of %.40s", p.rest)
		}
		p.rest = rest
		return rawPattern(text), nil
	}
	n := strings.IndexAny(p.rest, ",]} \t")
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return wordPattern(word)
}

func wordPattern(word string) (pattern, error) {
	rest := ""
	if word != "" {
		rest = word[1:]
	}
	switch {
	case strings.HasPrefix(word, "$") && isName(rest):
		return capturePattern(rest), nil
	case strings.HasPrefix(word, "~"):
		n, err := strconv.Atoi(rest)
		return aboutPattern(n), err
	case strings.HasPrefix(word, "@"):
		switch rest {
		case "any", "int", "interval", "string", "reason":
			return namedPattern(rest), nil
		}
	case json.Valid([]byte(word)):
		return literalPattern(word), nil
	}
	return nil, fmt.Errorf("no pattern: %.40s", word)
}

// quoted takes a string's text off, without the quotes, still escaped.
func (p *patternParser) quoted() (string, error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '"':
			s := p.rest[1:i]
			p.rest = p.rest[i+1:]
			return s, nil
		}
	}
	return "", fmt.Errorf("no end of %.40s", p.rest)
}

func (p *patternParser) object(depth int) (pattern, error) {
	var o objectPattern
	p.take("{")
	for first := true; !p.take("}"); first = false {
		if !first && !p.take(",") {
			return nil, fmt.Errorf("a comma is missing before %.40s", p.rest)
		}
		if p.take("...") {
			o.open = true
			continue
		}
		p.space()
		if !strings.HasPrefix(p.rest, `"`) {
			return nil, fmt.Errorf("a key is missing before %.40s", p.rest)
		}
		key, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if key, err = unquote(`"` + key + `"`); err != nil {
			return nil, err
		}
		if !p.take(":") {
			return nil, fmt.Errorf("a colon is missing before %.40s", p.rest)
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.keys, o.values = append(o.keys, key), append(o.values, v)
	}
	return o, nil
}

func (p *patternParser) array(depth int) (pattern, error) {
	a := arrayPattern{}
	p.take("[")
	for first := true; !p.take("]"); first = false {
		if !first && !p.take(",") {
			return nil, fmt.Errorf("a comma is missing before %.40s", p.rest)
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}
