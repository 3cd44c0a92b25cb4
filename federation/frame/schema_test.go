package frame_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/draeder/peerservers/federation/frame"
)

func schema(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := c.Compile(context.Background(), "frame.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName("Frame")
}

// TestSchema makes random messages, encodes each with the codec that
// frame.proto generates and with ours, and wants the same bytes and the same
// message back on both ways.
func TestSchema(t *testing.T) {
	desc := schema(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	var got frame.Frame
	for range 5_000 {
		want := randomFrame(rnd)
		theirs := dynamic(desc, want)
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		ours := frame.Append(nil, want)
		if !bytes.Equal(ours, b) {
			t.Fatalf("%v encodes to\n%x, by the schema to\n%x", want.Kind, ours, b)
		}
		if err := got.Decode(b, frame.DefaultLimits()); err != nil {
			t.Fatalf("%v: %v\n%x", want.Kind, err, b)
		}
		if !same(&got, want) {
			t.Fatalf("decoded %+v, want %+v", got, want)
		}
		back := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(ours, back); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(back, theirs) {
			t.Fatalf("the schema reads %v, want %v", back, theirs)
		}
	}
}

// TestSchemaMutated damages encodings and wants both codecs to agree on what
// is readable and on what it says.
func TestSchemaMutated(t *testing.T) {
	desc := schema(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	limits := frame.DefaultLimits()
	var got frame.Frame
	read, refused := 0, 0
	for range 12_000 {
		b := frame.Append(nil, randomFrame(rnd))
		for range 1 + rnd.IntN(3) {
			switch i := rnd.IntN(len(b) + 1); {
			case i == len(b) || rnd.IntN(4) == 0:
				b = append(b[:i:i], append([]byte{byte(rnd.Uint32())}, b[i:]...)...)
			case rnd.IntN(3) == 0:
				b = append(b[:i:i], b[i+1:]...)
			default:
				b[i] = byte(rnd.Uint32())
			}
		}
		theirs := dynamicpb.NewMessage(desc)
		theirError := proto.Unmarshal(b, theirs)
		ourError := got.Decode(b, limits)
		switch {
		case ourError == nil && theirError == nil:
			read++
			if back := dynamic(desc, &got); !proto.Equal(back, known(theirs)) {
				t.Fatalf("%x\nreads as %v, by the schema as %v", b, back, theirs)
			}
		case ourError == nil:
			t.Fatalf("%x\nis read, by the schema it is %v", b, theirError)
		case ourError == frame.FaultMalformed && theirError == nil:
			t.Fatalf("%x\nis malformed, by the schema it is %v", b, theirs)
		default:
			refused++
		}
	}
	if read < 1000 || refused < 1000 {
		t.Errorf("%d frames read and %d refused: the mutations miss one side", read, refused)
	}
}

// known is m without unknown fields, at any depth, and without the difference
// between no offer and an empty one in a refusal, which ours does not know.
func known(m proto.Message) proto.Message {
	c := proto.Clone(m).ProtoReflect()
	forget(c)
	if d := c.Descriptor().Fields().ByNumber(protoreflect.FieldNumber(frame.KindRefused)); c.Has(d) {
		refused := c.Mutable(d).Message()
		refused.Mutable(refused.Descriptor().Fields().ByName("offer"))
	}
	return c.Interface()
}

func forget(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case d.Message() == nil:
		case d.IsList():
			for i := range v.List().Len() {
				forget(v.List().Get(i).Message())
			}
		default:
			forget(v.Message())
		}
		return true
	})
}

// dynamic turns f into the message that frame.proto declares, by the names of
// the schema's fields, so that a field in one and not the other is found.
func dynamic(desc protoreflect.MessageDescriptor, f *frame.Frame) *dynamicpb.Message {
	m := dynamicpb.NewMessage(desc)
	if f.Kind == frame.KindUnknown {
		return m
	}
	d := desc.Fields().ByNumber(protoreflect.FieldNumber(f.Kind))
	fill(m.Mutable(d).Message(), reflect.ValueOf(f).Elem().Field(int(f.Kind)))
	return m
}

// fill sets m's fields, in the order of their numbers, from v's, in order of
// declaration.
func fill(m protoreflect.Message, v reflect.Value) {
	fields := m.Descriptor().Fields()
	if fields.Len() != v.NumField() {
		panic("schema and struct differ: " + string(m.Descriptor().FullName()))
	}
	for i := range fields.Len() {
		d, x := fields.ByNumber(protoreflect.FieldNumber(i+1)), v.Field(i)
		switch {
		case d.IsList() && x.Len() == 0:
		case d.IsList():
			list := m.Mutable(d).List()
			for j := range x.Len() {
				if d.Message() != nil {
					fill(list.AppendMutable().Message(), x.Index(j))
				} else {
					list.Append(scalar(d, x.Index(j)))
				}
			}
		case d.Message() != nil:
			fill(m.Mutable(d).Message(), x)
		default:
			m.Set(d, scalar(d, x))
		}
	}
}

func scalar(d protoreflect.FieldDescriptor, x reflect.Value) protoreflect.Value {
	switch d.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(x.Bool())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(x.Int()))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(x.Int())
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(x.Uint()))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(x.Bytes()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(bytes.Clone(x.Bytes()))
	default:
		return protoreflect.ValueOfUint64(x.Uint())
	}
}

// same compares what counts of two frames; empty and nil slices are equal.
func same(a, b *frame.Frame) bool {
	return a.Kind == b.Kind && bytes.Equal(frame.Append(nil, a), frame.Append(nil, b))
}

func randomFrame(rnd *rand.Rand) *frame.Frame {
	blob := func(max int) []byte {
		b := make([]byte, rnd.IntN(max+1))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	text := func(max int) []byte {
		b := make([]byte, rnd.IntN(max+1))
		for i := range b {
			b[i] = byte('!' + rnd.IntN(90))
		}
		return b
	}
	number := func() uint64 { return rnd.Uint64() >> rnd.IntN(65) }
	tags := func(max int) []uint64 {
		v := make([]uint64, rnd.IntN(max+1))
		for i := range v {
			v[i] = rnd.Uint64()
		}
		return v
	}
	versions := func() []uint32 {
		v := make([]uint32, rnd.IntN(17))
		for i := range v {
			v[i] = uint32(number())
		}
		return v
	}
	payload := func() []byte {
		if rnd.IntN(50) == 0 {
			return blob(5000)
		}
		return blob(200)
	}
	offer := func() frame.Offer { return frame.Offer{ID: blob(40), Payload: payload()} }

	f := &frame.Frame{Kind: frame.Kind(1 + rnd.IntN(frame.Kinds-1))}
	switch f.Kind {
	case frame.KindHello:
		f.Hello = frame.Hello{
			Versions: versions(), Network: blob(64), Nonce: blob(64), Key: blob(64), Ephemeral: blob(64),
			URL: text(255), Sequence: number(),
		}
	case frame.KindHelloReply:
		f.HelloReply = frame.HelloReply{
			Versions: versions(), Network: blob(64), Nonce: blob(64), Key: blob(64), Ephemeral: blob(64),
			Version: uint32(number()), Signature: blob(64),
		}
	case frame.KindProof:
		f.Proof.Signature = blob(64)
	case frame.KindJoin:
		f.Join = frame.Join{
			InfoHash: blob(256), Complete: number(), Incomplete: number(), Tagged: rnd.IntN(2) == 0,
			CompleteTags: tags(32), IncompleteTags: tags(32),
		}
	case frame.KindLeave:
		f.Leave = frame.Leave{InfoHash: blob(256), Full: rnd.IntN(2) == 0}
	case frame.KindOffers:
		f.Offers = frame.Offers{InfoHash: blob(256), PeerID: blob(256)}
		for range rnd.IntN(21) {
			f.Offers.Offers = append(f.Offers.Offers, offer())
		}
	case frame.KindAnswer:
		f.Answer = frame.Answer{InfoHash: blob(256), ToPeerID: blob(256), PeerID: blob(256), OfferID: blob(256), Payload: payload()}
	case frame.KindRefused:
		f.Refused = frame.Refused{InfoHash: blob(256), PeerID: blob(256), Offer: offer(), Reason: frame.Reason(int32(number()))}
	case frame.KindRecords:
		for range rnd.IntN(33) {
			f.Records.Records = append(f.Records.Records, frame.Record{Key: blob(64), Seq: int64(number()), Signature: blob(64), Value: blob(1000)})
		}
	case frame.KindBye:
		f.Bye.Code = frame.Code(int32(number()))
	case frame.KindCensus:
		f.Census.Swarms = number()
	case frame.KindFilter:
		f.Filter = frame.Filter{Generation: uint32(number()), From: uint32(number()), To: uint32(number()), Data: blob(21_636)}
	case frame.KindNames:
		f.Names.Names = tags(512)
	case frame.KindSeen:
		f.Seen.Address = blob(16)
	case frame.KindRegister:
		f.Register = frame.Register{Names: tags(256), Asked: tags(256)}
	case frame.KindTold:
		for range rnd.IntN(33) {
			f.Told.Records = append(f.Told.Records, frame.Record{Key: blob(64), Seq: int64(number()), Signature: blob(64), Value: blob(500)})
		}
		for range rnd.IntN(60) {
			f.Told.Found = append(f.Told.Found, frame.Found{Name: number(), Nodes: blob(8)})
		}
	}
	return f
}
