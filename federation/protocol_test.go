package federation_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/swarm"
)

// The examples of PROTOCOL.md, computed anew. Each group is one block of the
// document.

type docExample struct{ name, value string }

func docHex(b []byte) string { return fmt.Sprintf("%x", b) }

func docKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func docNetwork(t *testing.T, name, secret string) derive.Network {
	t.Helper()
	n, err := derive.New(name, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const docSecret = "correct horse battery staple"

func networkExamples(t *testing.T) []docExample {
	id := func(n derive.Network) string {
		x := n.ID()
		return docHex(x[:])
	}
	bucket := func(n derive.Network) string {
		x := n.BucketKey()
		return docHex(x[:])
	}
	return []docExample{
		{`id of "peerservers"`, id(docNetwork(t, "peerservers", ""))},
		{`id of "peerservers" with secret "` + docSecret + `"`, id(docNetwork(t, "peerservers", docSecret))},
		{`bucket key of "peerservers"`, bucket(docNetwork(t, "peerservers", ""))},
		{`bucket key of "peerservers" with secret "` + docSecret + `"`, bucket(docNetwork(t, "peerservers", docSecret))},
		{`member key of "peerservers" with secret "` + docSecret + `"`, docHex(docNetwork(t, "peerservers", docSecret).MemberKey())},
		{`record key of "peerservers" with secret "` + docSecret + `"`, docHex(docNetwork(t, "peerservers", docSecret).RecordKey())},
		{`query key of "peerservers" with secret "` + docSecret + `"`, docHex(docNetwork(t, "peerservers", docSecret).QueryKey())},
		{`record salt of "peerservers" with secret "` + docSecret + `"`, docHex([]byte(docNetwork(t, "peerservers", docSecret).RecordSalt()))},
		{`link path of "peerservers" with secret "` + docSecret + `"`, docNetwork(t, "peerservers", docSecret).LinkPath()},
	}
}

func targetExamples(t *testing.T) []docExample {
	const noon = 1795348800 // 22 November 2026, 12:00:00 UTC
	o, c := docNetwork(t, "peerservers", ""), docNetwork(t, "peerservers", docSecret)
	ih := sha1.Sum([]byte("file"))
	e := derive.Epoch(noon)
	epochs := func(at int64) string {
		x, n := derive.Epochs(at)
		return strings.Trim(fmt.Sprint(x[:n]), "[]")
	}
	target := func(x derive.Target) string { return docHex(x[:]) }
	return []docExample{
		{"epochs at 2026-11-22 12:00:00 UTC", epochs(noon)},
		{"epochs at 2026-11-22 22:00:00 UTC", epochs(noon + 36000)},
		{"epochs at 2026-11-23 01:59:59 UTC", epochs(noon + 50399)},
		{"NH, shard 0, open", target(o.Node(e, 0))},
		{"NH, shard 3, open", target(o.Node(e, 3))},
		{"NH, shard 0, closed", target(c.Node(e, 0))},
		{"ih", docHex(ih[:])},
		{"PH, open", target(o.Swarm(e, ih))},
		{"PH, closed", target(c.Swarm(e, ih))},
		{"key", docHex(docKey("b").Public().(ed25519.PublicKey))},
		{"target of a member at 203.0.113.7 with the token \"aoeusnth\"", target(dhtstore.MemberTarget(c.QueryKey(), []byte("aoeusnth"), netip.MustParseAddr("203.0.113.7")))},
		{"shard of key", fmt.Sprint(derive.Shard(docKey("b").Public().(ed25519.PublicKey)))},
	}
}

func recordExamples(t *testing.T) []docExample {
	u, err := nodeaddr.Parse("wss://b.example", false)
	if err != nil {
		t.Fatal(err)
	}
	const now = 1795348800
	sign := func(seal record.Seal) record.Signed {
		s, err := record.Sign(docKey("b"), now, record.Record{
			Caps: record.CapRelay, Protocol: 1, Expires: now + record.Lifetime,
			URLs: []nodeaddr.URL{u}, Peers: []record.Key{record.Key(docKey("a").Public().(ed25519.PublicKey))},
		}, seal)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(record.Rules{Now: now, RecordKey: seal.Key, Salt: seal.Salt}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := sign(record.Seal{})
	seal := record.Seal{Key: docNetwork(t, "peerservers", docSecret).RecordKey(), Salt: docNetwork(t, "peerservers", docSecret).RecordSalt()}
	nonce := sha256.Sum256([]byte("nonce"))
	copy(seal.Nonce[:], nonce[:])
	sealed := sign(seal)
	seed := sha256.Sum256([]byte("b"))
	at, sealedAt := sha1.Sum(append(s.Key[:], record.Salt...)), sha1.Sum(append(s.Key[:], seal.Salt...))
	return []docExample{
		{"private key (seed)", docHex(seed[:])},
		{"key", docHex(s.Key[:])},
		{"seq", fmt.Sprint(s.Seq)},
		{"value", docHex(s.Value)},
		{"signature", docHex(s.Sig[:])},
		{"nonce", docHex(seal.Nonce[:])},
		{"sealed value", docHex(sealed.Value)},
		{"signature of that", docHex(sealed.Sig[:])},
		{"stored under", docHex(at[:])},
		{"sealed, stored under", docHex(sealedAt[:])},
	}
}

func docLink(t *testing.T) (frames [3][]byte, s handshake.Session) {
	t.Helper()
	const url = "wss://b.example:443/federation"
	id := docNetwork(t, "peerservers", "").ID()
	local := func(name string) handshake.Local {
		return handshake.Local{Key: docKey(name), Network: id, Versions: []uint32{handshake.Version}}
	}
	entropy := func(name string) handshake.Entropy {
		return handshake.Entropy{Nonce: sha256.Sum256([]byte("nonce " + name)), Scalar: sha256.Sum256([]byte("scalar " + name))}
	}
	d, hello, err := handshake.Dial(local("a"), entropy("a"), url, 1, handshake.Key{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := handshake.Accept(local("b"), entropy("b"), []string{url})
	if err != nil {
		t.Fatal(err)
	}
	reply, _, _, err := a.Handle(hello)
	if err != nil {
		t.Fatal(err)
	}
	proof, s, err := d.Handle(reply)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := a.Handle(proof); err != nil {
		t.Fatal(err)
	}
	return [3][]byte{hello, reply, proof}, s
}

func handshakeExamples(t *testing.T) []docExample {
	frames, s := docLink(t)
	return []docExample{
		{"Hello", docHex(frames[0])},
		{"HelloReply", docHex(frames[1])},
		{"Proof", docHex(frames[2])},
		{"tag key", docHex(s.TagKey[:])},
		{"swarm key D", docHex(s.SendKey[:])},
		{"swarm key A", docHex(s.RecvKey[:])},
	}
}

func tagExamples(t *testing.T) []docExample {
	_, s := docLink(t)
	const peer = "-WW0208-AbCdEfGhIjKl"
	tag := swarm.Tag(s.TagKey, []byte(peer))
	return []docExample{
		{"tag of " + peer, fmt.Sprintf("0x%016x", tag)},
		{"a join that counts this peer alone, info hash 20 times \"a\"", docHex(frame.AppendJoin(nil, &frame.Join{
			InfoHash: []byte(strings.Repeat("a", 20)), Incomplete: 1, Tagged: true, IncompleteTags: []uint64{tag},
		}))},
	}
}

// swarmExamples are of what the dialler says of its swarms.
func swarmExamples(t *testing.T) []docExample {
	_, s := docLink(t)
	buckets := filter.Key(docNetwork(t, "peerservers", "").BucketKey())
	names, first := filter.Key(s.SendKey).Generation(0), filter.Key(s.SendKey).Generation(1)
	ih := strings.Repeat("a", 20)
	var sums []uint64
	for _, c := range "abc" {
		sums = append(sums, first.Sum(strings.Repeat(string(c), 20)))
	}
	name := names.Name(buckets.Bucket(ih), ih)
	return []docExample{
		{"key of generation 0", docHex(names[:])},
		{"key of generation 1", docHex(first[:])},
		{"bucket of 20 times \"a\"", fmt.Sprint(buckets.Bucket(ih))},
		{"name of 20 times \"a\"", fmt.Sprintf("0x%016x", name)},
		{"sums of 20 times \"a\", \"b\" and \"c\" in generation 1", fmt.Sprintf("0x%016x 0x%016x 0x%016x", sums[0], sums[1], sums[2])},
		{"a filter of these three, in one part", docHex(frame.AppendFilter(nil, &frame.Filter{Generation: 1, To: filter.Buckets, Data: filter.Append(nil, sums)}))},
		{"a frame that names the first", docHex(frame.AppendNames(nil, []uint64{name}))},
	}
}

func seenExamples() []docExample {
	return []docExample{{"a frame that says 203.0.113.7", docHex(frame.AppendSeen(nil, []byte{203, 0, 113, 7}))}}
}

func limitExamples(t *testing.T) (all []docExample) {
	names := map[string]string{
		"MaxFrame": "frame", "MaxID": "info hash, peer id", "MaxOfferID": "offer id", "MaxPayload": "payload", "MaxOffers": "offers in a frame",
		"MaxTags": "tags in a join", "MaxRecords": "records in a frame", "MaxRecord": "record value", "MaxVersions": "versions in a hello", "MaxURL": "url",
		"MaxFilter": "data of a filter's part", "MaxNames": "names in a frame", "MaxFound": "nodes told of for one name",
	}
	v := reflect.ValueOf(frame.DefaultLimits())
	if got := frame.DefaultLimits().MaxFilter; got != filter.MaxBytes {
		t.Errorf("a filter's part may have %d bytes, in a frame %d", filter.MaxBytes, got)
	}
	for i := range v.NumField() {
		all = append(all, docExample{names[v.Type().Field(i).Name], fmt.Sprint(v.Field(i).Int())})
	}
	return append(all, docExample{"frame of the handshake", fmt.Sprint(frame.HandshakeLimits().MaxFrame)})
}

func quotaExamples() []docExample {
	q := federation.DefaultQuota()
	return []docExample{
		{"frames per second, pings included", fmt.Sprint(q.Frames)},
		{"bytes per second", fmt.Sprintf("%.0f", q.Bytes)},
		{"offers per second", fmt.Sprint(q.Offers)},
		{"joins per second", fmt.Sprint(q.Joins)},
		{"names per second", fmt.Sprint(q.Names)},
		{"burst, in seconds", fmt.Sprint(q.BurstSeconds)},
		{"strikes within a minute that end the link", fmt.Sprint(q.Strikes)},
	}
}

// block renders examples as the document has them.
func docBlock(all []docExample) string {
	var b strings.Builder
	for _, e := range all {
		if len(e.value) <= 100-len(e.name) {
			fmt.Fprintf(&b, "%s = %s\n", e.name, e.value)
			continue
		}
		fmt.Fprintf(&b, "%s =\n", e.name)
		for v := e.value; v != ""; {
			n := min(len(v), 96)
			fmt.Fprintf(&b, "  %s\n", v[:n])
			v = v[n:]
		}
	}
	return strings.TrimSpace(b.String())
}

func schemaTables(t *testing.T) (messages, fields string) {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"frame"}}}
	files, err := c.Compile(context.Background(), "frame.proto")
	if err != nil {
		t.Fatal(err)
	}
	var of []string
	all := files[0].Messages()
	for i := range all.Len() {
		m := all.Get(i)
		var rows []string
		for j := range m.Fields().Len() {
			d := m.Fields().Get(j)
			typ := d.Kind().String()
			switch {
			case d.Enum() != nil:
				typ = string(d.Enum().Name())
			case d.Message() != nil:
				typ = string(d.Message().Name())
			}
			if m.Name() == "Frame" {
				messages += fmt.Sprintf("| %d | `%s` |\n", d.Number(), typ)
				continue
			}
			if d.Cardinality() == protoreflect.Repeated {
				typ = "repeated " + typ
			}
			rows = append(rows, fmt.Sprintf("%d `%s` %s", d.Number(), d.Name(), typ))
		}
		if rows != nil {
			of = append(of, fmt.Sprintf("- `%s`: %s", m.Name(), strings.Join(rows, ", ")))
		}
	}
	enums := files[0].Enums()
	for i := range enums.Len() {
		var rows []string
		for j := range enums.Get(i).Values().Len() {
			v := enums.Get(i).Values().Get(j)
			rows = append(rows, fmt.Sprintf("%d `%s`", v.Number(), v.Name()))
		}
		of = append(of, fmt.Sprintf("- `%s`: %s", enums.Get(i).Name(), strings.Join(rows, ", ")))
	}
	return strings.TrimSpace(messages), strings.Join(of, "\n")
}

// TestProtocolDocument: what PROTOCOL.md shows is what the code does.
func TestProtocolDocument(t *testing.T) {
	text, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	messages, fields := schemaTables(t)
	want := map[string]string{"the table of messages": "|---|---|\n" + messages + "\n\n", "the fields": "\n\n" + fields + "\n\n"}
	blocks := 0
	for name, all := range map[string][]docExample{
		"network": networkExamples(t), "targets": targetExamples(t), "record": recordExamples(t), "handshake": handshakeExamples(t), "tags": tagExamples(t), "swarms": swarmExamples(t),
		"seen": seenExamples(), "registry": registryExamples(t),
	} {
		want[name] = "```vectors\n" + docBlock(all) + "\n```\n"
		blocks++
	}
	want["quotas"] = "```quotas\n" + docBlock(quotaExamples()) + "\n```\n"
	want["limits"] = "```limits\n" + docBlock(limitExamples(t)) + "\n```\n"
	for name, w := range want {
		if !strings.Contains(doc, w) {
			t.Errorf("%s should read\n%s", name, w)
		}
	}
	if n := strings.Count(doc, "```vectors\n"); n != blocks {
		t.Errorf("%d blocks of examples, %d are checked", n, blocks)
	}
}
