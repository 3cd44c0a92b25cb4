package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

const now = 1795305600 // 22 November 2026, 00:00 UTC

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func parse(t testing.TB, s string) nodeaddr.URL {
	t.Helper()
	u, err := nodeaddr.Parse(s, true)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func example(t testing.TB) Record {
	return Record{
		Caps: CapRelay | CapIPv6, Protocol: 1, Expires: now + Lifetime,
		URLs: []nodeaddr.URL{parse(t, "wss://b.example"), parse(t, "wss://1.1.1.1:8443/tracker")},
		Pin:  sha256.Sum256([]byte("spki")), Pinned: true,
		Peers: []Key{{1}, {2}},
	}
}

func sign(t testing.TB, r Record, seq int64) Signed {
	t.Helper()
	s, err := Sign(privateKey("b"), seq, r, Seal{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signRaw signs any value, as an attacker with a key of his own can.
func signRaw(value string, seq int64) Signed {
	key := privateKey("b")
	s := Signed{Key: Key(key.Public().(ed25519.PublicKey)), Seq: seq, Value: []byte(value)}
	copy(s.Sig[:], ed25519.Sign(key, signedBytes("", seq, s.Value)))
	return s
}

func TestRoundTrip(t *testing.T) {
	for name, r := range map[string]Record{
		"full": example(t),
		"leaf": {Caps: CapLeaf, Protocol: 1, Expires: now + 1},
		"urls": {Protocol: math.MaxUint32, Caps: math.MaxUint32, Expires: now + 5*3600, URLs: example(t).URLs},
	} {
		s := sign(t, r, now)
		got, err := s.Verify(Rules{Now: now})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r.Key = s.Key
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %+v, want %+v", name, got, r)
		}
		if !bytes.Equal(got.Append(nil), s.Value) {
			t.Errorf("%s: not the same bytes again", name)
		}
	}
}

// TestRandomRoundTrip does the same with whatever a record can hold.
func TestRandomRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		r := Record{Caps: Caps(rnd.Uint32()), Protocol: 1 + rnd.Uint32N(1<<31), Expires: now + 1 + rnd.Int64N(5*3600)}
		for i := range rnd.IntN(MaxURLs + 1) {
			u := fmt.Sprintf("wss://%c%s.example:%d/%s", 'a'+i, strings.Repeat("x", rnd.IntN(60)), 1024+rnd.IntN(64512), strings.Repeat("y", rnd.IntN(60)))
			r.URLs = append(r.URLs, parse(t, u))
		}
		if r.Pinned = rnd.IntN(2) == 0; r.Pinned {
			r.Pin[rnd.IntN(32)] = byte(rnd.Uint32())
		}
		for range rnd.IntN(MaxPeers + 1) {
			r.Peers = append(r.Peers, Key{byte(rnd.Uint32()), byte(rnd.Uint32())})
		}
		s := sign(t, r, now-rnd.Int64N(100))
		got, err := s.Verify(Rules{Now: now})
		if err != nil || len(s.Value) > MaxValue {
			t.Fatalf("%d bytes: %v", len(s.Value), err)
		}
		// What did not fit are other nodes.
		r.Key, r.Peers = s.Key, r.Peers[:len(got.Peers):len(got.Peers)]
		if len(r.Peers) == 0 {
			r.Peers = nil
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v, want %+v", got, r)
		}
	}
}

// TestBEP44 checks the signature against the bytes that BEP 44 spells out.
func TestBEP44(t *testing.T) {
	s := sign(t, example(t), 4)
	text := append([]byte("4:salt11:wtfed1/node3:seqi4e1:v"), s.Value...)
	if !ed25519.Verify(s.Key[:], text, s.Sig[:]) {
		t.Error("not a BEP 44 signature")
	}
}

// TestAccept holds every rule against a record that keeps all the others.
func TestAccept(t *testing.T) {
	with := func(change func(*Record)) Record {
		r := example(t)
		change(&r)
		return r
	}
	cases := []struct {
		name   string
		s      Signed
		rules  Rules
		want   error
		change func(*Signed)
	}{
		{name: "good", s: sign(t, example(t), now)},
		{name: "seq 90 min ahead", s: sign(t, example(t), now+5400)},
		{name: "seq further ahead", s: sign(t, example(t), now+5401), want: FaultSeq},
		{name: "last seq of all", s: sign(t, example(t), math.MaxInt64), want: FaultSeq},
		{name: "negative seq", s: signRaw("de", -1), want: FaultSeq},
		{name: "the seq seen last", s: sign(t, example(t), now), rules: Rules{LastSeq: now}},
		{name: "older than seen", s: sign(t, example(t), now), rules: Rules{LastSeq: now + 1}, want: FaultReplay},
		{name: "expires now", s: sign(t, with(func(r *Record) { r.Expires = now }), now), want: FaultExpiry},
		{name: "expires in a second", s: sign(t, with(func(r *Record) { r.Expires = now + 1 }), now)},
		{name: "expires in 5 h", s: sign(t, with(func(r *Record) { r.Expires = now + 5*3600 }), now)},
		{name: "expires later", s: sign(t, with(func(r *Record) { r.Expires = now + 5*3600 + 1 }), now), want: FaultExpiry},
		{name: "never expires", s: sign(t, with(func(r *Record) { r.Expires = math.MaxInt64 }), now), want: FaultExpiry},
		{name: "reader an hour behind", s: sign(t, with(func(r *Record) { r.Expires = now + 3600 + Lifetime }), now+3600)},
		{name: "reader an hour ahead", s: sign(t, with(func(r *Record) { r.Expires = now - 3600 + Lifetime }), now-3600)},
		{name: "ws", s: sign(t, with(func(r *Record) { r.URLs[0] = parse(t, "ws://b.example:8000") }), now), want: FaultURLs},
		{name: "ws allowed", s: sign(t, with(func(r *Record) { r.URLs[0] = parse(t, "ws://127.0.0.1:8000") }), now), rules: Rules{AllowPrivate: true}},
		{name: "private", s: sign(t, with(func(r *Record) { r.URLs[0] = parse(t, "wss://10.0.0.1") }), now), want: FaultURLs},
		{name: "low port", s: sign(t, with(func(r *Record) { r.URLs[0].Port = 25 }), now), want: FaultURLs},
		{name: "not canonical", s: sign(t, with(func(r *Record) { r.URLs[0].Host = "B.example" }), now), want: FaultURLs},
		{name: "one URL twice", s: sign(t, with(func(r *Record) { r.URLs[1] = r.URLs[0] }), now), want: FaultURLs},
		{name: "other signature", s: sign(t, example(t), now), change: func(s *Signed) { s.Sig[0] ^= 1 }, want: FaultSignature},
		{name: "other seq", s: sign(t, example(t), now), change: func(s *Signed) { s.Seq++ }, want: FaultSignature},
		{name: "other value", s: sign(t, example(t), now), change: func(s *Signed) { s.Value[20] ^= 1 }, want: FaultSignature},
		{name: "other key", s: sign(t, example(t), now), change: func(s *Signed) { s.Key[0] ^= 1 }, want: FaultSignature},
		{name: "protocol 0", s: sign(t, with(func(r *Record) { r.Protocol = 0 }), now), want: FaultProtocol},
	}
	for _, c := range cases {
		if c.change != nil {
			c.change(&c.s)
		}
		c.rules.Now = now
		if _, err := c.s.Verify(c.rules); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestAnothersKey: a value copied from another node and signed anew.
func TestAnothersKey(t *testing.T) {
	b := sign(t, example(t), now)
	m := privateKey("m")
	s := Signed{Key: Key(m.Public().(ed25519.PublicKey)), Seq: now, Value: b.Value}
	copy(s.Sig[:], ed25519.Sign(m, signedBytes("", now, s.Value)))
	if _, err := s.Verify(Rules{Now: now}); err != FaultKey {
		t.Error(err)
	}
}

func TestMalformed(t *testing.T) {
	key := string(privateKey("b").Public().(ed25519.PublicKey))
	c, e, k, p := "1:c4:\x00\x00\x00\x01", fmt.Sprintf("1:ei%de", now+100), "1:k32:"+key, "1:pi1e"
	nested := strings.Repeat("l", 7) + strings.Repeat("e", 7)
	for _, x := range []struct {
		name, value string
		want        error
	}{
		{"least", "d" + c + e + k + p + "e", nil},
		{"later members", "d1:ai5e" + c + e + k + "5:later" + nested + p + "1:zd1:xi-1e2:xyleee", nil},
		{"nothing", "", FaultBencode},
		{"list", "le", FaultBencode},
		{"cut", "d" + c + e + k + p, FaultBencode},
		{"more", "d" + c + e + k + p + "e0:", FaultBencode},
		{"not sorted", "d" + e + c + k + p + "e", FaultBencode},
		{"twice", "d" + c + c + e + k + p + "e", FaultBencode},
		{"leading zero", "d" + c + "1:ei01e" + k + p + "e", FaultBencode},
		{"minus zero", "d" + c + "1:ei-0e" + k + p + "e", FaultBencode},
		{"plus", "d" + c + "1:ei+1e" + k + p + "e", FaultBencode},
		{"huge number", "d" + c + "1:ei9223372036854775808e" + k + p + "e", FaultBencode},
		{"no number", "d" + c + "1:eie" + k + p + "e", FaultBencode},
		{"long length", "d" + c + e + k + p + "1:z001:ae", FaultBencode},
		{"negative length", "d" + c + e + k + p + "1:z-1:ae", FaultBencode},
		{"length beyond", "d" + c + e + k + p + "1:z9:ae", FaultBencode},
		{"deep", "d" + c + e + k + p + "1:zl" + nested + "ee", FaultBencode},
		{"name is no string", "d" + c + e + k + p + "i1ei1ee", FaultBencode},
		{"no value", "d" + c + e + k + p + "1:ze", FaultBencode},
		{"too large", "d" + c + e + k + p + "1:z" + fmt.Sprintf("%d:%s", 900, strings.Repeat("x", 900)) + "e", FaultSize},
		{"no caps", "d" + e + k + p + "e", FaultMissing},
		{"no expiry", "d" + c + k + p + "e", FaultMissing},
		{"no key", "d" + c + e + p + "e", FaultMissing},
		{"no protocol", "d" + c + e + k + "e", FaultMissing},
		{"caps of 3", "d1:c3:abc" + e + k + p + "e", FaultCaps},
		{"caps a number", "d1:ci1e" + e + k + p + "e", FaultCaps},
		{"expiry a string", "d" + c + "1:e1:1" + k + p + "e", FaultExpiry},
		{"key of 31", "d" + c + e + "1:k31:" + key[:31] + p + "e", FaultKey},
		{"protocol a list", "d" + c + e + k + "1:plee", FaultProtocol},
		{"protocol of 33 bits", "d" + c + e + k + "1:pi4294967296ee", FaultProtocol},
		{"peers a string", "d" + c + e + k + p + "1:s0:e", FaultPeers},
		{"peers of 31", "d" + c + e + k + p + "1:sl31:" + key[:31] + "ee", FaultPeers},
		{"8 peers", "d" + c + e + k + p + "1:sl" + strings.Repeat("32:"+key, 8) + "ee", nil},
		{"9 peers", "d" + c + e + k + p + "1:sl" + strings.Repeat("32:"+key, 9) + "ee", FaultPeers},
		{"pin of 31", "d" + c + e + k + p + "1:t31:" + key[:31] + "e", FaultPin},
		{"urls a dictionary", "d" + c + e + k + p + "1:udee", FaultURLs},
		{"url a number", "d" + c + e + k + p + "1:uli1eee", FaultURLs},
		{"4 urls", "d" + c + e + k + p + "1:ul" + urls(4) + "ee", nil},
		{"5 urls", "d" + c + e + k + p + "1:ul" + urls(5) + "ee", FaultURLs},
	} {
		s := signRaw(x.value, now)
		if _, err := s.Verify(Rules{Now: now}); err != x.want {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
}

func urls(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf("16:wss://%d.test:443", i)
	}
	return s
}

func TestSign(t *testing.T) {
	r := example(t)
	for range 20 {
		r.Peers = append(r.Peers, Key{byte(len(r.Peers))})
	}
	s := sign(t, r, now)
	if got, err := s.Verify(Rules{Now: now}); err != nil || len(got.Peers) != MaxPeers {
		t.Errorf("%d peers, %v", len(got.Peers), err)
	}
	// With long URLs the other nodes give way.
	r.URLs = nil
	for i := range MaxURLs {
		r.URLs = append(r.URLs, parse(t, fmt.Sprintf("wss://b.example/%d%s", i, strings.Repeat("x", 140))))
	}
	s = sign(t, r, now)
	got, err := s.Verify(Rules{Now: now})
	if err != nil || len(s.Value) > MaxValue || len(got.URLs) != MaxURLs || len(got.Peers) == 0 || len(got.Peers) == MaxPeers {
		t.Errorf("%d bytes, %d peers, %v", len(s.Value), len(got.Peers), err)
	}
	for i := range r.URLs {
		r.URLs[i].Path += strings.Repeat("x", 60)
	}
	if _, err := Sign(privateKey("b"), now, r, Seal{}); err != FaultSize {
		t.Errorf("too large: %v", err)
	}
	r.URLs = make([]nodeaddr.URL, 5)
	if _, err := Sign(privateKey("b"), now, r, Seal{}); err != FaultURLs {
		t.Errorf("5 URLs: %v", err)
	}
	if _, err := Sign(privateKey("b"), -1, Record{}, Seal{}); err != FaultSeq {
		t.Errorf("negative seq: %v", err)
	}
}

func TestNextSeq(t *testing.T) {
	for _, c := range [][3]int64{{100, 0, 100}, {100, 99, 100}, {100, 100, 101}, {100, 5000, 5001}} {
		if got := NextSeq(c[0], c[1]); got != c[2] {
			t.Errorf("at %d after %d: %d", c[0], c[1], got)
		}
	}
}

func TestFaultLabels(t *testing.T) {
	seen := map[string]bool{}
	for i := range 256 {
		seen[Fault(i).Error()] = true
	}
	if len(seen) != Faults {
		t.Errorf("%d labels, want %d", len(seen), Faults)
	}
}

// TestMutated damages a signed record in every way that a random walk finds:
// none is accepted.
func TestMutated(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	good := sign(t, example(t), now)
	for range 3000 {
		s := good
		s.Value = bytes.Clone(s.Value)
		i := rnd.IntN(len(s.Value))
		switch rnd.IntN(3) {
		case 0:
			s.Value[i] ^= byte(1 + rnd.IntN(255))
		case 1:
			s.Value = append(s.Value[:i], s.Value[i+1:]...)
		default:
			s.Value = append(s.Value[:i], append([]byte{byte(rnd.IntN(256))}, good.Value[i:]...)...)
		}
		if bytes.Equal(s.Value, good.Value) {
			continue
		}
		if _, err := s.Verify(Rules{Now: now}); err == nil {
			t.Fatalf("accepted %q", s.Value)
		}
	}
}

// FuzzDecode: whatever an attacker signs, a record that is read keeps the
// rules, and what it says can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, s := range []Signed{sign(f, example(f), now), sign(f, Record{Protocol: 1}, now)} {
		f.Add(s.Value, false)
		f.Add(s.Value, true)
	}
	f.Add([]byte("d1:ai1e1:bl1:xd1:yi0eeee"), false)
	f.Fuzz(func(t *testing.T, value []byte, private bool) {
		r, err := decode(value, private)
		if err != nil {
			if _, ok := err.(Fault); !ok {
				t.Fatalf("%T is not a Fault", err)
			}
			return
		}
		if len(r.URLs) > MaxURLs || len(r.Peers) > MaxPeers || r.Protocol == 0 {
			t.Fatalf("over a bound: %+v", r)
		}
		for _, u := range r.URLs {
			if again, err := nodeaddr.Parse(u.String(), private); err != nil || again != u {
				t.Fatalf("url %q: %v", u, err)
			}
		}
		again, err := decode(r.Append(nil), private)
		if err != nil || !bytes.Equal(again.Append(nil), r.Append(nil)) {
			t.Fatalf("%+v, then %+v, %v", r, again, err)
		}
	})
}

// FuzzCanonical: what passes is read by the reader without a rest.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte("d1:ai1e1:bl1:xd1:yi0eeee"))
	f.Add([]byte("d1:ai01ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !canonical(b) {
			return
		}
		d := reader{rest: b}
		if d.skip(); len(d.rest) != 0 {
			t.Fatalf("%q leaves %q", b, d.rest)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := sign(b, example(b), now)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(Rules{Now: now}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWeakKey: a record under a key for which everybody can sign.
func TestWeakKey(t *testing.T) {
	const now = 1795348800
	key := Key{1}
	r := Record{Key: key, Protocol: 1, Expires: now + Lifetime}
	s := Signed{Key: key, Seq: now, Value: r.Append(nil)}
	s.Sig[0] = 1
	if !ed25519.Verify(key[:], signedBytes("", s.Seq, s.Value), s.Sig[:]) {
		t.Log("crypto/ed25519 refuses such signatures by itself")
	}
	if _, err := s.Verify(Rules{Now: now}); err != FaultWeakKey {
		t.Errorf("%v", err)
	}
}
