package trackertest

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// scope holds the variables of a running talk.
type scope struct {
	vars map[string]string
	sets map[string]map[string]bool
	// lenient leaves ${x} alone when there is no x yet.
	lenient bool
}

func newScope(lets map[string]string) *scope {
	vars := maps.Clone(lets)
	if vars == nil {
		vars = map[string]string{}
	}
	return &scope{vars: vars, sets: map[string]map[string]bool{}}
}

// maxDepth bounds lets that use each other.
const maxDepth = 32

// expand replaces every ${...} in s.
func (sc *scope) expand(s string) (string, error) { return sc.expandIn(s, nil, 0) }

func (sc *scope) expandIn(s string, args []string, depth int) (string, error) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	if depth > maxDepth {
		return "", fmt.Errorf("lets that use each other: %.40s", s)
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:i])
		end := closing(s[i+1:])
		if end < 0 {
			return "", fmt.Errorf("no end of %.40s", s[i:])
		}
		inner := s[i+2 : i+1+end]
		s = s[i+1+end+1:]
		text, err := sc.value(inner, args, depth)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
}

// closing finds the brace that closes the one at s[0].
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// splitWord cuts the first word off, where spaces within braces do not count.
func splitWord(s string) (word, rest string) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		case ' ':
			if depth == 0 {
				return s[:i], strings.TrimSpace(s[i:])
			}
		}
	}
	return s, ""
}

// value is what one ${inner} stands for.
func (sc *scope) value(inner string, args []string, depth int) (string, error) {
	name, rest := splitWord(strings.TrimSpace(inner))
	name, err := sc.expandIn(name, args, depth+1)
	if err != nil {
		return "", err
	}
	if bare, optional := strings.CutSuffix(name, "?"); optional || isDigits(bare) {
		n, err := strconv.Atoi(bare)
		if err != nil || n < 1 || rest != "" {
			return "", fmt.Errorf("no argument is called %q", inner)
		}
		if n <= len(args) {
			return args[n-1], nil
		}
		if optional {
			return "", nil
		}
		return "", fmt.Errorf("argument %d is missing", n)
	}
	var words []string
	for rest != "" {
		var word string
		word, rest = splitWord(rest)
		word, err := sc.expandIn(word, args, depth+1)
		if err != nil {
			return "", err
		}
		words = append(words, word)
	}
	if body, ok := sc.vars[name]; ok {
		return sc.expandIn(body, words, depth+1)
	}
	if sc.lenient && len(words) == 0 && isName(name) {
		return "${" + name + "}", nil
	}
	return sc.builtin(name, words)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// builtin makes text up.
func (sc *scope) builtin(name string, args []string) (string, error) {
	if name == "count" && len(args) == 1 {
		return strconv.Itoa(len(sc.sets[args[0]])), nil
	}
	want := map[string]int{"sdp": 1, "nest": 1, "offers": 1, "fill": 2, "latin1": 2, "escaped": 2}
	if n, ok := want[name]; !ok || n != len(args) {
		return "", fmt.Errorf("nothing is called %q with %d arguments", name, len(args))
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 || n > 1<<20 {
		return "", fmt.Errorf("%s of %q", name, args[0])
	}
	switch name {
	case "sdp":
		return sdp(n), nil
	case "nest":
		return strings.Repeat("[", n) + strings.Repeat("]", n), nil
	case "fill":
		return strings.Repeat(args[1], n), nil
	case "latin1", "escaped":
		last, err := strconv.Atoi(args[1])
		if err != nil || last > 0xff {
			return "", fmt.Errorf("%s up to %q", name, args[1])
		}
		return codePoints(n, last, name == "escaped"), nil
	default: // offers
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"offer":{"type":"offer","sdp":"v=0 made %d"},"offer_id":"made-offer-%09d"}`, i+1, i+1)
		}
		return b.String(), nil
	}
}

// codePoints is the inside of a JSON string of the code points first to last,
// each as it is, where JSON allows, or all of them escaped.
func codePoints(first, last int, escaped bool) string {
	var b strings.Builder
	for c := first; c <= last; c++ {
		if escaped || c < 0x20 || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// sdp is n bytes that look like a session description, escaped for JSON.
func sdp(n int) string {
	const head, line = `v=0\r\n`, `a=candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host\r\n`
	var b strings.Builder
	b.WriteString(head)
	for b.Len() < n {
		b.WriteString(line)
	}
	s := b.String()[:n]
	// An escape cut in two would end the string.
	return strings.TrimSuffix(s, `\`) + strings.Repeat("x", n-len(strings.TrimSuffix(s, `\`)))
}
