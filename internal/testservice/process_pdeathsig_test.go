//go:build linux || freebsd

package testservice

import (
	"bufio"
	"os"
	"testing"
)

// No test process, however it ends, leaves a server.
func TestOrphan(t *testing.T) {
	cmd := child(t, "hangs")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var server []string
	for lines := bufio.NewScanner(out); server == nil && lines.Scan(); {
		server = printed.FindStringSubmatch(lines.Text())
	}
	cmd.Process.Kill()
	cmd.Wait()
	if server == nil {
		t.Fatal("it started no server")
	}
	t.Cleanup(func() { os.RemoveAll(server[2]) })
	until(t, "its server is dead", refuses(server[1]))
}
