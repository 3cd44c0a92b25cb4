//go:build linux

package nettest_test

import (
	"os"
	"testing"

	"github.com/draeder/peerservers/federation/nettest"
)

func TestMain(m *testing.M) {
	status := m.Run()
	nettest.RemoveBinaries()
	os.Exit(status)
}
