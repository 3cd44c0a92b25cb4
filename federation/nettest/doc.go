// Package nettest puts real nodes on hosts of their own, with latency, loss,
// cuts and NAT between them, and real clients beside them. It is for tests; no
// product imports it.
//
//	n := nettest.New(t)                              // an internet
//	n.SetLink(nettest.Link{Delay: 150 * time.Millisecond, Loss: 0.02})
//	dht := n.Host("dht", "11.10.0.1").StartDHT()
//	a := n.Host("a", "11.1.0.1")
//	b := n.NAT("router", "11.2.0.1", nettest.NATConfig{}).Host("b", "192.168.1.2")
//	one := a.StartNode(nettest.NodeConfig{DHT: []string{dht}})
//	two := b.StartNode(nettest.NodeConfig{DHT: []string{dht}, URL: nettest.Leaf})
//	c := a.Client(one.URL, "c")
//	c.Announce("01234567890123456789", 5)
//	n.Cut(a, b)                                      // also CutOneWay, Partition
//
// # Hosts
//
// A [Host] is a network namespace: Linux's own TCP, UDP, loopback and routing,
// shared with nobody. It is not made with "ip netns add" but belongs to a
// thread of the test binary: the kernel takes it down with the last file and
// process in it, and processes are killed when that thread ends. So nothing is
// ever left behind, not even by a test binary that was killed, and there are
// no names that two runs could both want. A host has a hosts file of the
// test's ([Net.Name]) and no DNS server.
//
// Sockets belong to the namespace in which they are made, for good. Clients
// are goroutines of the test that made their sockets on a thread inside
// ([Host.Do]); they need no process. Nodes are the product's binary, built
// once, without a flag that is only for tests: addresses from 11.0.0.0/8 are
// public to them, and their certificates come from the Net's own authority.
//
// # Between hosts
//
// The interface of a host is a TUN device, and what is at its other end is
// this package: it reads each packet, looks up where the destination is, and
// writes it there after the [Link]'s delay, unless it is lost or the way is
// cut. Mahimahi's shells do it that way. "tc netem" would do the same within
// the kernel, but many kernels come without it (virtual machines' above all),
// and it can neither tell how many packets it dropped between which hosts, nor
// drop by the hosts' names in one direction. What it could do that is not here:
// jitter, reordering, a bandwidth. Each path has its own seeded randomness.
//
// A [NAT] is Linux's own masquerading (nftables) in a namespace that forwards
// between two TUN devices: one on the Net, the other on a Net of its own for
// the home behind it.
//
// No packet leaves: no device leads out of the namespaces.
//
// # What the tests show
//
// Three nodes, 150 ms and 2 % of loss each way, and clients at each of them
// that count their offers and answers. What a cut of seconds holds up arrives,
// over the same connections. After a longer one, or when one direction alone
// is gone, nodes leave each other's swarms, those on either side still meet,
// and all meet again afterwards. Of what was sent to a node that is killed and
// from it, the last is lost and nothing else: exactly what was under way, also
// where nothing tells the others, who end their links for their silence. A node
// comes back at another address, under way or restarted, and if it finds its
// address out by itself others prove the new one; a node's clock is an hour ahead
// and then right; a node of before censuses, filters and names is served beside
// new ones. No client elsewhere loses its connection, and no test looks at how
// long anything took.
//
// A wrong clock is the product compiled with another time.Now
// ([Net.BinaryWithClock]).
//
// # Running them
//
//	PEERSERVERS_NETTEST=1 go test ./federation/nettest
//
// as root, with ip, ss and nft; scripts/test does it where it can. Otherwise they
// are skipped. To look at a host while a test runs: nsenter -n -t PID, with
// the pid of one of its processes.
package nettest
