package dhtstore

import (
	"context"
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/draeder/peerservers/federation"
)

// The nodes of a closed network are to strangers plain DHT nodes. None of them
// knows "wt_rec": they ask each other for records by a get (BEP 44) like any
// other, but for a target that says to whoever has the secret, and to nobody
// else, what is meant. So a stranger who asks learns nothing, and nor does one
// who listed himself under a target of the network's and is asked. What comes
// back looks like any item under that target: only who knows the salt could
// tell that it is none.
//
// The target is a MAC of the token that the asked node gave, which is bound to
// the asker's address, so that who saw it gets nothing by it from elsewhere or
// from another node; and of that address as the asked node sees it, so that
// nobody in between can have it made for his own (votes.confirms).

func (n *Node) inClosed() bool { return len(n.cfg.QueryKey) > 0 }

// MemberTarget is the target of a get by which a member at addr asks the node
// that gave it token for that node's record.
func MemberTarget(queryKey, token []byte, addr netip.Addr) (t federation.Target) {
	mac := hmac.New(sha256.New, queryKey)
	mac.Write([]byte{byte(len(token))})
	mac.Write(token)
	mac.Write(addr.AsSlice())
	copy(t[:], mac.Sum(nil))
	return t
}

// askMember asks a node for its record as a member of our closed network.
func (s *stack) askMember(ctx context.Context, addr netip.AddrPort) (*krpc.Return, error) {
	var any krpc.ID
	if _, err := crand.Read(any[:]); err != nil {
		return nil, fmt.Errorf("dhtstore: %w", err)
	}
	reply, err := s.insist(ctx, addr, methodGet, krpc.MsgArgs{Target: any, Want: s.want()}, false)
	if err != nil {
		return nil, err
	}
	us, ok := replyExternal(reply)
	if !ok || reply.R.Token == nil {
		return nil, ErrNotFound
	}
	s.node.mu.Lock()
	ok = s.external.confirms(time.Now(), addr, us.Addr())
	s.node.mu.Unlock()
	if !ok {
		return nil, errAddress
	}
	target := MemberTarget(s.node.cfg.QueryKey, []byte(*reply.R.Token), us.Addr())
	if reply, err = s.insist(ctx, addr, methodGet, krpc.MsgArgs{Target: krpc.ID(target), Want: s.want()}, true); err != nil {
		return nil, err
	}
	return reply.R, nil
}

// asksForRecord reports whether a get for target from addr is a member's query
// for our record. The caller holds mu.
func (n *Node) asksForRecord(now time.Time, target nodeID, addr netip.Addr) bool {
	if n.record == nil || !n.inClosed() {
		return false
	}
	for _, token := range n.tokens.all(now, addr) {
		want := MemberTarget(n.cfg.QueryKey, token, addr)
		if hmac.Equal(want[:], target[:]) {
			return true
		}
	}
	return false
}
