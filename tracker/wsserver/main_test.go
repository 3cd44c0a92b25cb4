package wsserver

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine that a test started, the server's above all, has ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
