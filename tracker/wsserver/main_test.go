package wsserver

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails on a goroutine that outlives the tests. net/http keeps one for
// half a second after a request that it refused (closeWriteAndWait), which is a
// little longer than goleak looks: so it looks three times.
func TestMain(m *testing.M) {
	code := m.Run()
	var leak error
	for range 3 {
		if leak = goleak.Find(); leak == nil {
			break
		}
	}
	if leak != nil && code == 0 {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	os.Exit(code)
}
