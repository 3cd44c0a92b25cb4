package wire

import "testing"

func TestAppend(t *testing.T) {
	hash, peer := []byte("h\"é\x01"), []byte("p\\😀")
	for _, c := range []struct {
		m    Message
		want string
	}{
		{Message{Kind: KindReply, InfoHash: hash, Interval: 120, Complete: 1, Incomplete: 2},
			`{"action":"announce","info_hash":"h\"é\u0001","interval":120,"complete":1,"incomplete":2}`},
		{Message{Kind: KindOffer, InfoHash: hash, PeerID: peer, OfferID: []byte(`"\u00e9"`), Payload: []byte(`{"type":"offer" ,"sdp":"x","n":1.0}`)},
			`{"action":"announce","info_hash":"h\"é\u0001","offer":{"type":"offer" ,"sdp":"x","n":1.0},"offer_id":"\u00e9","peer_id":"p\\😀"}`},
		{Message{Kind: KindAnswer, InfoHash: hash, PeerID: peer, OfferID: []byte(`5`), Payload: []byte(`{"type":"answer","sdp":"x"}`)},
			`{"action":"announce","info_hash":"h\"é\u0001","answer":{"type":"answer","sdp":"x"},"offer_id":5,"peer_id":"p\\😀"}`},
		{Message{Kind: KindScrape}, `{"action":"scrape","files":{}}`},
		{Message{Kind: KindScrape, Files: []File{{InfoHash: hash, Complete: 1, Incomplete: 2, Downloaded: 3}, {InfoHash: []byte("b")}}},
			`{"action":"scrape","files":{"h\"é\u0001":{"downloaded":3,"complete":1,"incomplete":2},"b":{"downloaded":0,"complete":0,"incomplete":0}}}`},
		// Finding 1: an unknown action or no info_hash costs the client its
		// socket, so both are always there.
		{Message{Kind: KindFailure, Reason: "invalid JSON"}, `{"action":"announce","info_hash":"","failure reason":"invalid JSON"}`},
		{Message{Kind: KindFailure, Action: ActionScrape, InfoHash: hash, Reason: "a\tb\xff"}, `{"action":"scrape","info_hash":"h\"é\u0001","failure reason":"a\tb\ufffd"}`},
	} {
		if got := string(Append(nil, &c.m)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestActionString(t *testing.T) {
	for a, want := range map[Action]string{ActionUnknown: "announce", ActionAnnounce: "announce", ActionScrape: "scrape", 99: "announce"} {
		if a.String() != want {
			t.Errorf("action %d is %s", a, a)
		}
	}
}
