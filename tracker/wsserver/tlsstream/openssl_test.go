package tlsstream

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// openssl is one s_client, driven line by line as a person would.
type openssl struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	mu    sync.Mutex
	said  bytes.Buffer
	grown chan struct{}
	ended chan struct{}
}

// startOpenSSL connects it to addr.
func startOpenSSL(t *testing.T, addr string, args ...string) *openssl {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("MISSING: the command openssl is not installed, so nothing is shown about OpenSSL as a peer")
	}
	if version, err := exec.Command(path, "version").Output(); err != nil || !strings.HasPrefix(string(version), "OpenSSL ") {
		t.Skipf("MISSING: %s is %q and not OpenSSL, so nothing is shown about OpenSSL as a peer", path, version)
	}
	cert, _ := certificate()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"s_client", "-connect", addr, "-servername", "server", "-CAfile", ca,
		"-verify_return_error", "-alpn", "http/1.1"}, args...)
	o := &openssl{t: t, cmd: exec.Command(path, args...), grown: make(chan struct{}, 1), ended: make(chan struct{})}
	o.cmd.Stdout, o.cmd.Stderr = o, o
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { o.cmd.Wait(); close(o.ended) }()
	t.Cleanup(func() { o.cmd.Process.Kill(); <-o.ended })
	return o
}

// Write takes what it prints.
func (o *openssl) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said.Write(p)
	select {
	case o.grown <- struct{}{}:
	default:
	}
	return len(p), nil
}

// wait returns when it has printed text, n times in all.
func (o *openssl) wait(text string, n int) {
	o.t.Helper()
	late := time.After(hang)
	for {
		o.mu.Lock()
		said := o.said.String()
		o.mu.Unlock()
		if strings.Count(said, text) >= n {
			return
		}
		select {
		case <-o.grown:
		case <-late:
			o.t.Fatalf("openssl does not say %q %d times:\n%s", text, n, said)
		}
	}
}

// enter types a line of input. A line that begins with k or K is a command.
func (o *openssl) enter(line string) {
	o.t.Helper()
	if _, err := io.WriteString(o.in, line+"\n"); err != nil {
		o.t.Fatal(err)
	}
}

// serveLines answers each line of the next connection with "echo " and the line,
// and the line "bye" with the end.
func serveLines(t *testing.T, l net.Listener, s *Server, cut int) (info chan Info, updates func() int) {
	t.Helper()
	info = make(chan Info, 1)
	count := 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		raw, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer raw.Close()
		stream, rest, got, err := shake(t, s, raw, cut)
		if err != nil {
			t.Error(err)
			close(info)
			return
		}
		info <- got
		counting := &updateCounter{Stream: stream}
		conn := NetConn(raw, counting, rest)
		defer conn.Close()
		lines := bufio.NewReader(conn)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				if err != io.EOF {
					t.Error(err)
				}
				break
			}
			if _, err := io.WriteString(conn, "echo "+line); err != nil {
				t.Error(err)
			}
			if line == "bye\n" {
				break
			}
		}
		count = counting.n
	}()
	return info, func() int { <-ended; return count }
}

// updateCounter counts the updates of the client's keys.
type updateCounter struct {
	Stream
	n int
}

func (u *updateCounter) Open(dst, in []byte) ([]byte, error) {
	o, ok := u.Stream.(*own)
	var before [maxSecret]byte
	if ok {
		before = o.read.secret
	}
	dst, err := u.Stream.Open(dst, in)
	if ok && err == nil && before != o.read.secret {
		u.n++
	}
	return dst, err
}

// TestOpenSSL has s_client talk to each kind of stream with each suite: data
// both ways, key updates that ask for one and that do not, and the end from
// either side.
func TestOpenSSL(t *testing.T) {
	args := map[string][]string{"TLS 1.2": {"-tls1_2"}}
	for _, suite := range suites {
		name := tls.CipherSuiteName(suite)
		args[name] = []string{"-tls1_3", "-ciphersuites", name}
	}
	eachKind(t, func(t *testing.T, cfg Config) {
		for name, args := range args {
			for _, end := range []string{"bye", "Q"} {
				t.Run(name+" "+end, func(t *testing.T) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					defer l.Close()
					o := startOpenSSL(t, l.Addr().String(), args...)
					info, updates := serveLines(t, l, newServer(cfg, serverConfig()), 3)
					got := <-info
					is13 := args[0] == "-tls1_3"
					if got.OwnRecords != (cfg.OwnRecords && is13) || is13 && tls.CipherSuiteName(got.Suite) != name {
						t.Errorf("agreed on %+v", got)
					}
					o.enter("hello")
					o.wait("echo hello", 1)
					asked := 0
					for i, command := range []string{"K", "k", "K", "K", "k"} {
						if !is13 {
							break
						}
						asked++
						o.enter(command)
						o.wait("KEYUPDATE", asked)
						// It goes out before the next data.
						o.enter(fmt.Sprint("after ", i))
						o.wait(fmt.Sprint("echo after ", i), 1)
					}
					long := strings.Repeat("x", 3000)
					o.enter(long)
					o.wait("echo "+long, 1)
					o.enter(end)
					if end == "bye" {
						// It reads the close_notify, and ends.
						o.wait("closed", 1)
					}
					<-o.ended
					if n := updates(); got.OwnRecords && n != asked {
						t.Errorf("%d updates, want %d", n, asked)
					}
				})
			}
		}
	})
}

// TestOpenSSLResumes: s_client resumes with a ticket of an earlier connection.
func TestOpenSSLResumes(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			t.Run(version, func(t *testing.T) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				s := newServer(cfg, serverConfig())
				file := filepath.Join(t.TempDir(), "session.pem")
				for i := range 3 {
					args := []string{version, "-sess_out", file}
					if i > 0 {
						args = append(args, "-sess_in", file)
					}
					o := startOpenSSL(t, l.Addr().String(), args...)
					info, updates := serveLines(t, l, s, 0)
					got := <-info
					if got.Resumed != (i > 0) || got.OwnRecords != (cfg.OwnRecords && version == "-tls1_3") {
						t.Errorf("connection %d: %+v", i, got)
					}
					want := "New, "
					if i > 0 {
						want = "Reused, "
					}
					o.wait(want, 1)
					o.enter("hello")
					o.wait("echo hello", 1)
					o.enter("bye")
					<-o.ended
					updates()
				}
			})
		}
	})
}
