//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// onHangup calls reload at each SIGHUP.
func onHangup(ctx context.Context, reload func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			reload()
		}
	}
}
