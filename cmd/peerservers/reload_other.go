//go:build !unix

package main

import "context"

// onHangup waits: there is no SIGHUP here.
func onHangup(ctx context.Context, _ func()) { <-ctx.Done() }
