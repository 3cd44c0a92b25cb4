package nodeaddr

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in      string
		public  string // "" if refused
		private string // with allowPrivate
	}{
		{"wss://tracker.example", "wss://tracker.example:443", "wss://tracker.example:443"},
		{"wss://tracker.example/", "wss://tracker.example:443", "wss://tracker.example:443"},
		{"WSS://Tracker.Example.:443", "wss://tracker.example:443", "wss://tracker.example:443"},
		{"wss://tracker.example:8443/a/B-_~.x/", "wss://tracker.example:8443/a/B-_~.x", "wss://tracker.example:8443/a/B-_~.x"},
		{"wss://xn--bcher-kva.example:1024", "wss://xn--bcher-kva.example:1024", "wss://xn--bcher-kva.example:1024"},
		{"wss://1.1.1.1", "wss://1.1.1.1:443", "wss://1.1.1.1:443"},
		{"wss://[2606:4700:0:0::1111]:65535", "wss://[2606:4700::1111]:65535", "wss://[2606:4700::1111]:65535"},
		{"ws://tracker.example:8000", "", "ws://tracker.example:8000"},
		{"ws://127.0.0.1:8001", "", "ws://127.0.0.1:8001"},
		{"ws://[::1]:8001", "", "ws://[::1]:8001"},
		{"ws://localhost:8001", "", "ws://localhost:8001"},
		{"wss://localhost", "", "wss://localhost:443"},
		{"wss://10.0.0.1", "", "wss://10.0.0.1:443"},
		{"wss://[fe80::1]:8443", "", "wss://[fe80::1]:8443"},
		{"wss://100.64.0.1:8443", "", "wss://100.64.0.1:8443"},
	} {
		for _, private := range []bool{false, true} {
			want := c.public
			if private {
				want = c.private
			}
			u, err := Parse(c.in, private)
			switch {
			case err != nil && want == "":
				if !errors.Is(err, ErrURL) {
					t.Errorf("%q: %v", c.in, err)
				}
			case err != nil || u.String() != want:
				t.Errorf("%q, private %v: %q, %v; want %q", c.in, private, u, err, want)
			default:
				if again, err := Parse(u.String(), private); err != nil || again != u {
					t.Errorf("%q is not canonical: %v, %v", u, again, err)
				}
				if u.Link("/federation") != want+"/federation" {
					t.Errorf("link of %q is %q", u, u.Link("/federation"))
				}
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		"", "tracker.example", "//tracker.example", "http://tracker.example", "https://tracker.example", "wss:tracker.example", "wss://",
		"wss://:443", "wss://tracker.example:", "wss://tracker.example:0", "wss://tracker.example:80", "wss://tracker.example:442",
		"wss://tracker.example:1023", "wss://tracker.example:65536", "wss://tracker.example:0443", "wss://tracker.example:+443",
		"wss://tracker.example:-1", "wss://tracker.example:44x", "wss://tracker.example:443:443", "ws://localhost", "ws://localhost:80",
		"wss://user@tracker.example", "wss://user:pw@tracker.example", "wss://tracker.example@127.0.0.1", "wss://tracker.example/a@b",
		"wss://tracker.example?x", "wss://tracker.example/?x", "wss://tracker.example#x", "wss://tracker.example/a#x", "wss://tracker.example/%2e",
		"wss://tracker.example\\@evil.example", "wss://tracker.example/a//b", "wss://tracker.example//", "wss://tracker.example/.", "wss://tracker.example/a/../b",
		"wss://tracker.example/a b", "wss://tracker.example/\u00e9", "wss://tr\u00e4cker.example", "wss://tracker .example", " wss://tracker.example", "wss://tracker.example\n",
		"wss://tracker..example", "wss://.tracker.example", "wss://-a.example", "wss://a-.example", "wss://a_b.example", "wss://tracker.example..",
		"wss://" + strings.Repeat("a", 64) + ".example", "wss://tracker.example/" + strings.Repeat("a", MaxURL),
		"wss://127.1", "wss://2130706433", "wss://0x7f000001", "wss://a.0x7f000001", "wss://1.2.3.4.", "wss://1.2.3", "wss://1.2.3.256", "wss://01.2.3.4",
		"wss://0.0.0.0", "wss://255.255.255.255", "wss://224.0.0.1", "wss://203.0.113.1", "wss://0.1.2.3", "wss://240.0.0.1",
		"wss://::1", "wss://[::1", "wss://[::1]x", "wss://[::1]:", "wss://[]", "wss://[1.1.1.1]", "wss://[tracker.example]", "wss://[fe80::1%25eth0]", "wss://[::]",
		"wss://[::ffff:1.1.1.1]", "wss://[::ffff:127.0.0.1]", "wss://[64:ff9b::1]", "wss://[2002:7f00:1::]", "wss://[2001::1]", "wss://[ff02::1]",
	} {
		for _, private := range []bool{false, true} {
			if u, err := Parse(s, private); err == nil || !errors.Is(err, ErrURL) {
				t.Errorf("%q, private %v: %q, %v", s, private, u, err)
			}
		}
	}
}

// FuzzParse: what is accepted is in canonical form, and so is its link URL.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"wss://tracker.example", "ws://[::1]:8001/a", "wss://127.1", "wss://a@b", "wss://1.1.1.1:443/x/"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, private bool) {
		u, err := Parse(s, private)
		if err != nil {
			return
		}
		if again, err := Parse(u.String(), private); err != nil || again != u {
			t.Fatalf("%q becomes %q, then %q, %v", s, u, again, err)
		}
		if c := u.String(); len(c) > MaxURL || strings.ContainsAny(c, "@?#%\\ \t\r\n") {
			t.Fatalf("%q", c)
		}
	})
}
