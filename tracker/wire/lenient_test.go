package wire

import (
	"strings"
	"testing"
)

// Case 8, and what clients are known to send.
func TestEvents(t *testing.T) {
	for raw, want := range map[string]Event{
		`"started"`: EventStarted, `"stopped"`: EventStopped, `"completed"`: EventCompleted, `"st\u0061rted"`: EventStarted,
		`"\u0063\u006f\u006d\u0070\u006c\u0065\u0074\u0065\u0064"`: EventCompleted,
		`""`: EventUpdate, `null`: EventUpdate, `"update"`: EventUpdate, `"empty"`: EventUpdate, `"paused"`: EventUpdate, `"<regular>"`: EventUpdate, `"\u003cregular\u003e"`: EventUpdate,
		`"Started"`: EventUpdate, `"started "`: EventUpdate, `5`: EventUpdate, `["started"]`: EventUpdate, `{}`: EventUpdate, `"` + strings.Repeat("x", 1000) + `\u0061"`: EventUpdate,
	} {
		if r, f := parse(t, DefaultLimits(), announce(`,"event":`+raw)); f != FaultNone || r.Event != want {
			t.Errorf("%.50s: %v, event %d", raw, f, r.Event)
		}
	}
	if r, f := parse(t, DefaultLimits(), announce("")); f != FaultNone || r.Event != EventUpdate || r.Left != LeftUnknown || r.NumWant != -1 {
		t.Error(f, describe(&r))
	}
}

// Case 9.
func TestLeft(t *testing.T) {
	for raw, want := range map[string]Left{
		`0`: LeftZero, `-0`: LeftZero, `0.0`: LeftZero, `0e5`: LeftZero, `-0.00E-3`: LeftZero, `"0"`: LeftZero, `"\u0030"`: LeftZero,
		`1`: LeftMore, `0.5`: LeftMore, `1e21`: LeftMore, `1e400`: LeftMore, `1e-400`: LeftMore, `9007199254740993`: LeftMore, `1e99999999999999999999`: LeftMore,
		strings.Repeat("9", 100_000): LeftMore, "0." + strings.Repeat("0", 100_000): LeftZero, "0." + strings.Repeat("0", 100_000) + "1": LeftMore,
		`-1`: LeftUnknown, `-0.5`: LeftUnknown, `-1e400`: LeftUnknown, `null`: LeftUnknown, `"abc"`: LeftUnknown, `"5"`: LeftUnknown, `"0.0"`: LeftUnknown, `""`: LeftUnknown,
		`true`: LeftUnknown, `false`: LeftUnknown, `[]`: LeftUnknown, `[0]`: LeftUnknown, `{}`: LeftUnknown,
	} {
		var r Request
		if f := NewParser(DefaultLimits()).Parse([]byte(announce(`,"left":`+raw)), &r); f != FaultNone || r.Left != want {
			t.Errorf("%.50s: %v, left %d", raw, f, r.Left)
		}
	}
}

// Case 12.
func TestNumWant(t *testing.T) {
	for raw, want := range map[string]int{
		`0`: 0, `-0`: 0, `-0.0e1`: 0, `0e999999999999`: 0, `5`: 5, `5.0`: 5, `5e0`: 5, `50e-1`: 5, `0.5e1`: 5, `0.05E+2`: 5, `5000e-3`: 5, `1e1`: 10, `50`: 50, `999999`: 999_999,
		`1000000`: MaxNumWant, `1e9`: MaxNumWant, `1e99999999999999999999`: MaxNumWant, `18446744073709551617`: MaxNumWant, strings.Repeat("1", 100_000): MaxNumWant,
		"0." + strings.Repeat("0", 99_999) + "7e100000": 7, "7" + strings.Repeat("0", 100_000) + "e-100000": 7,
		`-1`: -1, `5.5`: -1, `0.5`: -1, `5e-1`: -1, `1e-99999999999999999999`: -1, `-5e0`: -1, `"5"`: -1, `null`: -1, `true`: -1, `[5]`: -1, `{}`: -1,
	} {
		var r Request
		if f := NewParser(DefaultLimits()).Parse([]byte(announce(`,"numwant":`+raw)), &r); f != FaultNone || r.NumWant != want {
			t.Errorf("%.50s: %v, numwant %d", raw, f, r.NumWant)
		}
	}
}
