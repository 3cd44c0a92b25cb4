package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// nodesCommand shows what a running node has to do with others. It asks the
// node's admin listener, whose address the node leaves in its data directory.
type nodesCommand struct {
	Admin   string `placeholder:"HOST:PORT" help:"The node's --admin. By default it is looked up in the data directory."`
	DataDir string `placeholder:"DIR" help:"The node's data directory, as for serve."`
	JSON    bool   `name:"json" help:"Print /federation.json as it is."`
}

// maxReport is far above what a node has to say.
const maxReport = 64 << 20

// Validate implements kong's validation.
func (c *nodesCommand) Validate() error {
	if c.Admin == "" {
		return nil
	}
	return hostPort("--admin", c.Admin)
}

// Run implements kong's run.
func (c *nodesCommand) Run(ctx context.Context, con *console) error {
	addr, err := c.admin()
	if err != nil {
		return err
	}
	body, err := fetchReport(ctx, addr)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := con.out.Write(body)
		return err
	}
	var r report
	if err := json.Unmarshal(body, &r); err != nil || r.Key == "" && !r.Off {
		return wrong("--admin", addr, "give the address that the node has as its --admin", "what answers there is no node")
	}
	r.print(con.out)
	return nil
}

// admin is the address to ask.
func (c *nodesCommand) admin() (string, error) {
	if c.Admin != "" {
		return dialable(c.Admin), nil
	}
	dir := c.DataDir
	if dir == "" {
		var err error
		if dir, err = defaultDataDir(); err != nil {
			return "", err
		}
	}
	b, err := os.ReadFile(adminFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", wrong("--data-dir", dir, "start the node with --admin 127.0.0.1:9100, or name its --admin here if it keeps its data elsewhere",
			"no node with an admin listener runs from there")
	}
	return dialable(strings.TrimSpace(string(b))), err
}

// adminFile is where a node leaves the address of its admin listener.
func adminFile(dir string) string { return filepath.Join(dir, "admin.addr") }

// noteAdmin leaves the address there, or removes that of an earlier run; forget
// removes it at the end.
func noteAdmin(dir, addr string) (forget func(), err error) {
	forget = func() { _ = os.Remove(adminFile(dir)) } // the next start does so too
	if addr == "" {
		forget()
		return forget, nil
	}
	return forget, os.WriteFile(adminFile(dir), []byte(addr+"\n"), 0o600)
}

// dialable is the address at which a listener of this machine can be dialled.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

// fetchReport gets /federation.json.
func fetchReport(ctx context.Context, addr string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/federation.json", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine, or one beside it
	resp, err := client.Do(r)
	if err != nil {
		return nil, wrong("--admin", addr, "see that the node runs and has this --admin", "nobody answers: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, wrong("--admin", addr, "give the address that the node has as its --admin, not that of --listen", "%s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	return body, nil
}
