package nodekey

import (
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	key := Key(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	h, b := hex.EncodeToString(key[:]), base.EncodeToString(key[:])
	for _, s := range []string{h, strings.ToUpper(h), b, strings.ToLower(b)} {
		if k, err := Parse(s); err != nil || k != key {
			t.Errorf("%s: %x, %v", s, k, err)
		}
	}
	for _, s := range []string{"", h[1:], h + "0", b[1:], strings.Replace(h, h[:1], "x", 1), "1" + b[1:], b[:51] + "=", "\xff" + h[1:]} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q passes", s)
		}
	}
}

// point is a point of edwards25519, computed without haste.
type point struct{ x, y *big.Int }

type curve struct{ p, d *big.Int }

func ed() curve {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	d := new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	return curve{p, d.Mod(d, p)}
}

func (c curve) add(a, b point) point {
	mul := func(f ...*big.Int) *big.Int {
		r := big.NewInt(1)
		for _, x := range f {
			r.Mod(r.Mul(r, x), c.p)
		}
		return r
	}
	div := func(n, d *big.Int) *big.Int { return mul(n, new(big.Int).ModInverse(new(big.Int).Mod(d, c.p), c.p)) }
	t := mul(c.d, a.x, b.x, a.y, b.y)
	one := big.NewInt(1)
	return point{
		div(new(big.Int).Add(mul(a.x, b.y), mul(a.y, b.x)), new(big.Int).Add(one, t)),
		div(new(big.Int).Add(mul(a.y, b.y), mul(a.x, b.x)), new(big.Int).Sub(one, t)),
	}
}

// decode finds a point with that y, whatever the sign of its x.
func (c curve) decode(k Key) (point, bool) {
	var be [32]byte
	for i := range k {
		be[31-i] = k[i]
	}
	be[0] &= 0x7f
	y := new(big.Int).SetBytes(be[:])
	y.Mod(y, c.p)
	y2 := new(big.Int).Mul(y, y)
	num := new(big.Int).Sub(y2, big.NewInt(1))
	den := new(big.Int).Add(new(big.Int).Mul(c.d, y2), big.NewInt(1))
	x2 := new(big.Int).Mul(num, new(big.Int).ModInverse(den.Mod(den, c.p), c.p))
	x := new(big.Int).ModSqrt(x2.Mod(x2, c.p), c.p)
	return point{x, y}, x != nil
}

// TestWeak: the list is exact. Each point in it, times eight, is the identity;
// and every such point is in it, since what eight times a random point leaves
// of it is one.
func TestWeak(t *testing.T) {
	c := ed()
	small := func(k Key) bool {
		q, ok := c.decode(k)
		if !ok {
			return false
		}
		for range 3 {
			q = c.add(q, q)
		}
		return q.x.Sign() == 0 && q.y.Cmp(big.NewInt(1)) == 0
	}
	for _, y := range weak() {
		for _, sign := range []byte{0, 0x80} {
			k := y
			k[31] |= sign
			if !small(k) || !Weak(k) {
				t.Errorf("%x: of small order %v, weak %v", k, small(k), Weak(k))
			}
		}
	}
	// Multiples of the group's order l leave the torsion part: all eight points.
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	seen := map[string]bool{}
	for i := byte(2); i < 200; i++ {
		q, ok := c.decode(Key{i})
		if !ok {
			continue
		}
		r := point{big.NewInt(0), big.NewInt(1)}
		for b := l.BitLen() - 1; b >= 0; b-- {
			if r = c.add(r, r); l.Bit(b) == 1 {
				r = c.add(r, q)
			}
		}
		var k Key
		r.y.FillBytes(k[:])
		for a, b := 0, 31; a < b; a, b = a+1, b-1 {
			k[a], k[b] = k[b], k[a]
		}
		if seen[r.y.String()] = true; !Weak(k) {
			t.Errorf("%x is of small order and not in the list", k)
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d values of y, want 5: the test saw too little", len(seen))
	}
	for i := range 100 {
		if k := Key(ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i))).Public().(ed25519.PublicKey)); Weak(k) {
			t.Errorf("%x, a key like any other, is called weak", k)
		}
	}
}

// TestWhatAWeakKeyIsGoodFor shows why they are refused.
func TestWhatAWeakKeyIsGoodFor(t *testing.T) {
	key := Key{1} // the identity
	sig := make([]byte, ed25519.SignatureSize)
	sig[0] = 1 // R is the identity, S is 0
	if !ed25519.Verify(key[:], []byte("anything"), sig) {
		t.Skip("crypto/ed25519 refuses it by itself now")
	}
	if !Weak(key) {
		t.Error("everybody can sign for this key")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("a", 64))
	f.Add(strings.Repeat("a", 52))
	f.Add("aaaa\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\raaaaaaaAaaaaaaaaaaaUaaaaaaaaaaaa")
	f.Add(strings.Repeat("ſ", 26))
	f.Fuzz(func(t *testing.T, s string) {
		k, err := Parse(s)
		if err != nil {
			return
		}
		if h := hex.EncodeToString(k[:]); !strings.EqualFold(h, s) && !strings.EqualFold(base.EncodeToString(k[:]), s) {
			t.Errorf("%q is read as %s", s, h)
		}
	})
}
