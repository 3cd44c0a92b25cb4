package trackertest_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a world leaves something running behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
