package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func sealOf(key byte) Seal {
	return Seal{Key: bytes.Repeat([]byte{key}, 32), Nonce: [12]byte{1, 2, 3}}
}

func signSealed(t testing.TB, r Record, seq int64, seal Seal) Signed {
	t.Helper()
	s, err := Sign(privateKey("b"), seq, r, seal)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSealed: a member reads what a member sealed, from the bytes that
// PROTOCOL.md spells out, and they show nothing of it.
func TestSealed(t *testing.T) {
	r, seal := example(t), sealOf(1)
	s := signSealed(t, r, now, seal)
	got, err := s.Verify(Rules{Now: now, RecordKey: seal.Key})
	if err != nil {
		t.Fatal(err)
	}
	r.Key = s.Key
	if !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, want %+v", got, r)
	}
	for _, part := range []string{"b.example", "1.1.1.1", string(s.Key[:]), string(r.Pin[:])} {
		if bytes.Contains(s.Value, []byte(part)) {
			t.Errorf("it shows %q", part)
		}
	}
	block, err := aes.NewCipher(seal.Key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	text := gcm.Seal(seal.Nonce[:], seal.Nonce[:], r.Append(nil), binary.BigEndian.AppendUint64(s.Key[:], now))
	if want := fmt.Sprintf("%d:%s", len(text), text); string(s.Value) != want {
		t.Errorf("%q, want %q", s.Value, want)
	}
	if !ed25519.Verify(s.Key[:], append([]byte(fmt.Sprintf("4:salt11:wtfed1/node3:seqi%de1:v", now)), s.Value...), s.Sig[:]) {
		t.Error("not a BEP 44 signature")
	}
}

// TestSealRefused: whose network is another one, or closed to those who signed
// it, and what was changed or moved by somebody who can sign.
func TestSealRefused(t *testing.T) {
	mine, theirs := sealOf(1), sealOf(2)
	good := signSealed(t, example(t), now, mine)
	text := string(good.Value[4:])
	other := ed25519.PrivateKey(privateKey("m"))
	moved := Signed{Key: Key(other.Public().(ed25519.PublicKey)), Seq: now, Value: good.Value}
	copy(moved.Sig[:], ed25519.Sign(other, signedBytes("", now, moved.Value)))
	unsigned := good
	unsigned.Value = append([]byte(nil), good.Value...)
	unsigned.Value[30] ^= 1

	for _, c := range []struct {
		name string
		s    Signed
		key  []byte
		want error
	}{
		{"good", good, mine.Key, nil},
		{"an open network", good, nil, FaultSealed},
		{"another secret", good, theirs.Key, FaultSealed},
		{"in the clear", sign(t, example(t), now), mine.Key, FaultNotSealed},
		{"changed", unsigned, mine.Key, FaultSignature},
		{"changed and signed", signRaw(string(unsigned.Value), now), mine.Key, FaultSealed},
		{"another number", signRaw(string(good.Value), now+1), mine.Key, FaultSealed},
		{"another key", moved, mine.Key, FaultSealed},
		{"cut", signRaw(fmt.Sprintf("%d:%s", len(text)-1, text[:len(text)-1]), now), mine.Key, FaultSealed},
		{"no room for a tag", signRaw("27:"+text[:27], now), mine.Key, FaultSealed},
		{"nothing sealed", signRaw("28:"+text[:28], now), mine.Key, FaultSealed},
		{"empty", signRaw("0:", now), mine.Key, FaultSealed},
		{"two values", signRaw(string(good.Value)+"0:", now), mine.Key, FaultNotSealed},
		{"no value", signRaw("", now), mine.Key, FaultNotSealed},
		{"a long length", signRaw("0"+string(good.Value), now), mine.Key, FaultNotSealed},
	} {
		if _, err := c.s.Verify(Rules{Now: now, RecordKey: c.key}); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := Sign(privateKey("b"), now, example(t), Seal{Key: []byte("short")}); err != FaultSealed {
		t.Errorf("sealed with a short key: %v", err)
	}
}

// TestSealedRules: what a member seals is held to the same rules.
func TestSealedRules(t *testing.T) {
	seal := sealOf(1)
	rules := Rules{Now: now, RecordKey: seal.Key}
	r := example(t)
	r.Expires = now
	s := signSealed(t, r, now, seal)
	if _, err := s.Verify(rules); err != FaultExpiry {
		t.Errorf("expired: %v", err)
	}
	s = signSealed(t, example(t), now, seal)
	rules.LastSeq = now + 1
	if _, err := s.Verify(rules); err != FaultReplay {
		t.Errorf("replayed: %v", err)
	}
	rules.LastSeq = 0
	for inside, want := range map[string]error{"de": FaultMissing, "le": FaultBencode, "": FaultBencode} {
		key := privateKey("b")
		s := Signed{Key: Key(key.Public().(ed25519.PublicKey)), Seq: now}
		s.Value, _ = seal.value(s.Key, now, []byte(inside))
		copy(s.Sig[:], ed25519.Sign(key, signedBytes("", now, s.Value)))
		if _, err := s.Verify(rules); err != want {
			t.Errorf("%q: %v, want %v", inside, err, want)
		}
	}
}

// TestSealedSize: the largest dictionary that fits gives a value of 950 bytes,
// and peers give way before that.
func TestSealedSize(t *testing.T) {
	seal := sealOf(1)
	r := example(t)
	fill := func(total int) {
		r.URLs, r.Peers = r.URLs[:0], nil
		for i := range MaxURLs {
			r.URLs = append(r.URLs, parse(t, fmt.Sprintf("wss://%c.example/%s", 'a'+i, strings.Repeat("x", 170))))
		}
		r.URLs[0].Path += strings.Repeat("x", total-len(r.Append(nil)))
	}
	fill(MaxValue - sealSize)
	s := signSealed(t, r, now, seal)
	if _, err := s.Verify(Rules{Now: now, RecordKey: seal.Key}); err != nil || len(s.Value) != MaxValue {
		t.Errorf("%d bytes: %v", len(s.Value), err)
	}
	r.Peers = []Key{{1}, {2}}
	if s := signSealed(t, r, now, seal); len(s.Value) != MaxValue {
		t.Errorf("%d bytes with peers", len(s.Value))
	}
	fill(MaxValue - sealSize + 1)
	if _, err := Sign(privateKey("b"), now, r, seal); err != FaultSize {
		t.Errorf("a byte more: %v", err)
	}
	s.Value = append(s.Value, 0)
	if _, err := s.Verify(Rules{Now: now, RecordKey: seal.Key}); err != FaultSize {
		t.Errorf("a larger value: %v", err)
	}
}

// FuzzOpen: what a stranger signs is no record to a member of a closed
// network, and what a member seals is what it was.
func FuzzOpen(f *testing.F) {
	seal := sealOf(1)
	f.Add(signSealed(f, example(f), now, sealOf(2)).Value, int64(now))
	f.Add(signSealed(f, example(f), now, seal).Value[:40], int64(0))
	f.Add([]byte("28:"+strings.Repeat("x", 28)), int64(1))
	f.Add([]byte("de"), int64(now))
	f.Fuzz(func(t *testing.T, value []byte, seq int64) {
		s := Signed{Seq: seq, Value: value}
		switch _, fault := s.open(seal.Key); fault {
		case FaultSealed, FaultNotSealed:
		default:
			t.Fatalf("opened: %v", fault)
		}
		if _, fault := s.open(nil); fault != 0 && fault != FaultSealed {
			t.Fatal(fault)
		}
		sealed, fault := seal.value(s.Key, seq, value)
		if fault != 0 {
			t.Fatal(fault)
		}
		if s.Value = sealed; len(sealed) > MaxValue {
			return
		}
		if again, fault := s.open(seal.Key); fault != 0 || !bytes.Equal(again, value) {
			t.Fatalf("%q, %v", again, fault)
		}
	})
}
