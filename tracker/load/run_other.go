//go:build !linux

package load

import (
	"context"
	"errors"
)

// ErrPlatform: this system lacks what the generator is made of.
var ErrPlatform = errors.New("the load generator needs Linux")

// Run is for Linux only.
func Run(context.Context, Config) (*Report, error) { return nil, ErrPlatform }

// MaxConnections is for Linux only.
func MaxConnections() int { return 0 }
