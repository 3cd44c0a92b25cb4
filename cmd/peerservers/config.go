package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// configFile resolves flags from a JSON object whose keys are their names. A
// key that is no flag is an error: a misspelt limit would otherwise not hold.
type configFile map[string]any

func readConfig(r io.Reader) (kong.Resolver, error) {
	var c configFile
	d := json.NewDecoder(r)
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("not a JSON object of flags: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more follows the JSON object of flags")
	}
	return c, nil
}

// Validate implements kong.Resolver.
func (c configFile) Validate(app *kong.Application) error {
	known := make(map[string]bool)
	var add func(*kong.Node)
	add = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, child := range n.Children {
			add(child)
		}
	}
	add(app.Node)
	for _, not := range []string{"config", "help"} {
		delete(known, not)
	}
	for key := range c {
		if !known[key] {
			return fmt.Errorf("--config: %q is not a flag; write flags as on the command line, without the dashes in front", key)
		}
	}
	return nil
}

// Resolve implements kong.Resolver.
func (c configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil // the environment wins
		}
	}
	return c[flag.Name], nil
}
