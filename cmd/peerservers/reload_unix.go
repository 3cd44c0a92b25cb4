//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/draeder/peerservers/tracker/access"
)

// reload reads the access lists again at each SIGHUP.
func reload(ctx context.Context, policy *access.Policy, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		if err := policy.Reload(); err != nil {
			log.Error("lists not read; the former ones stay", "err", err)
			continue
		}
		log.Info("lists read again")
	}
}
