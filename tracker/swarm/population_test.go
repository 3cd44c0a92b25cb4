package swarm

import "testing"

// With a population, the nodes that joined are a sample: what clients are told
// is an estimate. What is drawn from, and what a watcher sees, are the members
// of the nodes that joined.
func TestPopulationScalesWhatClientsAreTold(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 1, 4)
	w.join("M", "H", 3, 2)
	w.counts("H", 4, 7, 0)
	w.tb.Population([]byte("H"), 20)
	w.counts("H", 40, 61, 0)
	if st := w.state("H"); st.RemoteComplete != 4 || st.RemoteIncomplete != 6 || st.Population != 20 {
		t.Fatalf("%+v", st)
	}
	w.tb.Population([]byte("H"), 1) // fewer than joined: they are all
	w.counts("H", 4, 7, 0)
	w.tb.Population([]byte("H"), -5)
	w.counts("H", 4, 7, 0)
	w.tb.Population([]byte("none"), 5)
}
