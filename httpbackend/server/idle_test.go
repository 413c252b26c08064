//go:build unix

package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/memory"
)

// idleEnv makes this program the client of TestIdleConnections: a process may not have
// so many files open that both ends fit into one.
const idleEnv = "STATELATCH_TEST_IDLE"

func TestMain(m *testing.M) {
	if base := os.Getenv(idleEnv); base != "" {
		if err := idle(base); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// connections is how many there are to be, as far as the system lets one process have
// them.
func connections() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 100
	}
	return min(10_000, int(files.Max)-200)
}

// idle opens connections, says so, and keeps them until its input ends.
func idle(base string) error {
	for i := range connections() {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		defer conn.Close()
		if i%2 == 0 { // half of them begin a request
			if _, err := io.WriteString(conn, "GET /prod HTTP/1.1\r\n"); err != nil {
				return err
			}
		}
	}
	fmt.Println("open")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func TestIdleConnections(t *testing.T) {
	base, stop := run(t, serve(t, memory.New(), server.Options{}), "")
	before := heap()
	cmd := respawn.Command(t.Context(), nil, idleEnv+"="+base)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	start := time.Now()
	answers(t, base)
	t.Logf("with %d idle connections another client is answered in %s; they take %d KB each",
		connections(), time.Since(start).Round(time.Microsecond), (heap()-before)/int64(connections())/1024)
	input.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	stop() // TestMain sees whether anything is left
}
