package dhtstore

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

const id20 = "2:id20:abcdefghij0123456789"

func TestParseFaults(t *testing.T) {
	for _, c := range []struct {
		in   string
		want fault
	}{
		{"d1:ad" + id20 + "e1:q4:ping1:t2:aa1:y1:qe", faultNone},
		{"d1:rd" + id20 + "e1:t2:aa1:y1:re", faultNone},
		{"d1:eli201e5:Helloe1:t2:aa1:y1:ee", faultNone},
		{"d1:q4:vote1:t2:aa1:y1:qe", faultNone}, // unknown: answered with an error
		{"d1:y1:q1:t2:aa1:q4:ping1:ad" + id20 + "ee", faultNone},
		{"", faultSize},
		{"d" + strings.Repeat("x", maxDatagram), faultSize},
		{"hello", faultBencode},
		{"li1ee", faultBencode},
		{"d1:t2:aa1:y1:qexx", faultBencode},
		{"d1:t2:aa1:y1:q", faultBencode},
		{"de", faultEnvelope},
		{"d1:ad" + id20 + "e1:q4:ping1:y1:qe", faultEnvelope},
		{"d1:ad" + id20 + "e1:q4:ping1:t0:1:y1:qe", faultEnvelope},
		{"d1:ad" + id20 + "e1:q4:ping1:t33:" + strings.Repeat("a", 33) + "1:y1:qe", faultEnvelope},
		{"d1:ad" + id20 + "e1:q4:ping1:t2:aa1:y1:xe", faultEnvelope},
		{"d1:ad" + id20 + "e1:t2:aa1:y1:qe", faultEnvelope},
		{"d1:ad" + id20 + "e1:qi1e1:t2:aa1:y1:qe", faultEnvelope},
		{"d1:t2:aa1:t2:ab1:y1:qe", faultEnvelope},
		{"d1:q4:ping1:t2:aa1:y1:qe", faultArguments},
		{"d1:ale1:q4:ping1:t2:aa1:y1:qe", faultArguments},
		{"d1:ade1:q4:ping1:t2:aa1:y1:qe", faultArguments},
		{"d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe", faultArguments},
		{"d1:ad" + id20 + "5:tokeni1ee1:q4:ping1:t2:aa1:y1:qe", faultArguments},
		{"d1:ad" + id20 + "1:k3:abce1:q3:put1:t2:aa1:y1:qe", faultArguments},
		{"d1:t2:aa1:y1:re", faultArguments},
		{"d1:rd" + id20 + "5:nodes25:" + strings.Repeat("n", 25) + "e1:t2:aa1:y1:re", faultArguments},
		{"d1:rd" + id20 + "6:values5:abcdee1:t2:aa1:y1:re", faultArguments},
		{"d1:rd" + id20 + "6:valuesl1:xee1:t2:aa1:y1:re", faultArguments},
		{"d1:rd" + id20 + "6:valuesli1eee1:t2:aa1:y1:re", faultArguments},
		{"d1:t2:aa1:y1:ee", faultArguments},
		{"d1:e3:abc1:t2:aa1:y1:ee", faultArguments},
		{"d1:ele1:t2:aa1:y1:ee", faultArguments},
		{"d1:eli201ee1:t2:aa1:y1:ee", faultArguments},
		{"d1:eli201e1:a1:be1:t2:aa1:y1:ee", faultArguments},
	} {
		var m message
		if got := m.parse([]byte(c.in)); got != c.want {
			t.Errorf("parse(%.80q) = %d, want %d", c.in, got, c.want)
		}
	}
}

// TestUnknownMethodsAreOne: nothing from the wire becomes a name.
func TestUnknownMethodsAreOne(t *testing.T) {
	for _, name := range []string{"vote", "pin", "ping2", "GET", "sample_infohashes", "unknown"} {
		if got := parseMethod([]byte(name)); got != methodUnknown {
			t.Errorf("%q is %v", name, got)
		}
	}
	for m := methodPing; m < numMethods; m++ {
		if parseMethod([]byte(m.String())) != m {
			t.Errorf("%v is not itself", m)
		}
	}
}

func TestRebuiltRepliesReadTheSame(t *testing.T) {
	to := netip.MustParseAddrPort("5.6.7.8:9")
	r := body{
		id: nodeID{1, 2, 3}, token: []byte("tok"), seq: -4, hasSeq: true,
		key: bytes.Repeat([]byte{5}, 32), sig: bytes.Repeat([]byte{6}, 64), value: []byte("d1:ai1ee"),
		nodes: [families][]contact{
			{{nodeID{9}, netip.MustParseAddrPort("1.2.3.4:5")}},
			{{nodeID{8}, netip.MustParseAddrPort("[2a00::4]:5")}, {nodeID{7}, netip.MustParseAddrPort("[2a00::5]:5")}},
		},
		values: []netip.AddrPort{netip.MustParseAddrPort("4.3.2.1:6"), netip.MustParseAddrPort("4.3.2.1:7"), netip.MustParseAddrPort("[2a00::1]:8")},
	}
	var m message
	if f := m.parse(appendReply(nil, []byte("their"), to, &r)); f != faultNone {
		t.Fatalf("fault %d", f)
	}
	var got krpc.Msg
	if err := bencode.Unmarshal(appendRebuilt(nil, &m, []byte("ours")), &got); err != nil {
		t.Fatal(err)
	}
	ret := got.R
	switch {
	case got.T != "ours", got.Y != "r", !got.ReadOnly, got.IP.String() != to.String():
		t.Errorf("envelope: %+v", got)
	case nodeID(ret.ID) != r.id, *ret.Token != "tok", *ret.Seq != -4, string(ret.V) != "d1:ai1ee":
		t.Errorf("reply: %+v", ret)
	case len(ret.Nodes) != 1 || ret.Nodes[0].Addr.String() != "1.2.3.4:5", len(ret.Values) != 3 || ret.Values[1].String() != "4.3.2.1:7",
		len(ret.Nodes6) != 2 || ret.Nodes6[1].Addr.String() != "[2a00::5]:5", ret.Values[2].String() != "[2a00::1]:8":
		t.Errorf("lists: %+v", ret)
	case !bytes.Equal(ret.K[:], r.key), !bytes.Equal(ret.Sig[:], r.sig):
		t.Errorf("signature: %+v", ret)
	}
	if f := m.parse(appendError(nil, []byte("x"), to, codeCAS, "no")); f != faultNone || m.code != codeCAS || string(m.text) != "no" {
		t.Errorf("error: %d %+v", f, m)
	}
}

// FuzzParse: any datagram is parsed within bounds or refused, and what the
// library would get of it, it decodes without complaint.
func FuzzParse(f *testing.F) {
	for _, c := range faultCases {
		f.Add([]byte(c.datagram))
	}
	f.Add([]byte("d1:ad" + id20 + "6:target20:abcdefghij01234567894:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe"))
	f.Add([]byte("d2:ip6:abcdef1:rd" + id20 + "5:nodes26:abcdefghij0123456789abcdef5:token3:tok6:valuesl6:abcdefee1:t2:aa1:y1:re"))
	f.Add([]byte("d1:rd" + id20 + "1:k32:abcdefghijklmnopqrstuvwxyz0123453:seqi5e1:vd1:ai1eee1:t2:aa1:y1:re"))
	f.Add([]byte("d1:eli201e5:Helloe1:t2:aa1:y1:ee"))
	f.Add([]byte("d2:ip18:abcdefghij0123456712" + "1:rd" + id20 + "6:nodes638:abcdefghij0123456789abcdefghij0123456712345:token3:tok6:valuesl18:abcdefghij01234567e6:abcdefee1:t2:aa1:y1:re"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if m.parse(b) != faultNone || m.kind == 'q' {
			return
		}
		rebuilt := appendRebuilt(nil, &m, []byte("id"))
		if len(rebuilt) > len(b)+64 {
			t.Fatalf("%d bytes became %d", len(b), len(rebuilt))
		}
		var msg krpc.Msg
		if err := bencode.Unmarshal(rebuilt, &msg); err != nil {
			t.Fatalf("the library does not read %q, made from %q: %v", rebuilt, b, err)
		}
		var again message
		if f := again.parse(rebuilt); f != faultNone {
			t.Fatalf("%q has fault %d", rebuilt, f)
		}
	})
}
