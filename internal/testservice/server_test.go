package testservice

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestShared(t *testing.T) {
	shared := New(fake("serve"))
	var servers [8]*Server
	var wg sync.WaitGroup
	for i := range servers {
		wg.Go(func() { servers[i] = shared.Start(t) })
	}
	wg.Wait()
	if len(slices.Compact(servers[:])) != 1 {
		t.Errorf("several servers: %v", servers)
	}
	if own := Run(t, fake("serve")); own.Addr == servers[0].Addr || own.dir == servers[0].dir {
		t.Error("Run returned a server that others use")
	}
}

func TestRestart(t *testing.T) {
	s := Run(t, fake("serve"))
	saved := func() bool { _, err := os.Stat(filepath.Join(s.data(), "saved")); return err == nil }
	addr, first := s.Addr, s.process
	s.Kill()
	if !first.ended() || !refuses(addr)() {
		t.Error("it survived Kill")
	}
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("after Kill: %v", err)
	}
	for _, save := range []bool{false, true} { // the first finds it killed, the second running
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if s.Addr != addr || saved() != save {
			t.Errorf("now at %s, was at %s; let it save: %v, want %v", s.Addr, addr, saved(), save)
		}
	}
	if n := strings.Count(s.Logs(), "is given ADDR"); n != 3 {
		t.Errorf("the log tells of %d runs, not 3:\n%s", n, s.Logs())
	}
	s.Stop()
	gone(t, addr, s.dir)
	if err := s.Restart(); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("Restart after Stop: %v", err)
	}
}

func TestStubbornServer(t *testing.T) {
	s := Run(t, fake("stubborn"))
	s.process.terminate(time.Millisecond)
	if !s.process.ended() {
		t.Error("it still runs")
	}
}

// A server that ends by itself fails the next test that asks for it.
func TestDeadServer(t *testing.T) {
	s := Run(t, fake("serve"))
	s.process.terminate(grace)
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "fake has ended") || !strings.Contains(err.Error(), "is given ") {
		t.Errorf("%v; want that it has ended, and its log", err)
	}
}

func TestStartFails(t *testing.T) {
	tests := []struct {
		mode     string
		patience time.Duration // for busy, more than it takes to start
		exited   bool
		says     string
	}{
		{"exit", 0, true, "exit status 3\nthe log of fake at 127.0.0.1:\\d+ ends:\n(.*\n)+out of luck"},
		{"busy", 8 * time.Second, false, "not ready after .*503 Service Unavailable"},
		{"mute", time.Second, false, "not ready after 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			kind := fake(tt.mode)
			kind.patience = tt.patience
			s, err := start(kind)
			if s != nil || errors.Is(err, errExited) != tt.exited || !regexp.MustCompile(tt.says).MatchString(err.Error()) {
				t.Errorf("%v", err)
			}
			if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What ends at once may have lost its port to another.
func TestPortTaken(t *testing.T) {
	Run(t, fake("first-fails "+filepath.Join(t.TempDir(), "first")))
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://nowhere.invalid")
	t.Setenv("AWS_REGION", "of-the-user")
	s := Run(t, fake("serve"))
	if strings.Contains(s.Logs(), "HTTP_PROXY") || strings.Contains(s.Logs(), "AWS_REGION") {
		t.Errorf("it sees the user's settings: %s", s.Logs())
	}
}

func TestFreePort(t *testing.T) {
	taken := map[int]bool{}
	for range 200 {
		port, hold, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { hold.Close() })
		if taken[port] {
			t.Errorf("%d twice", port)
		}
		taken[port] = true
	}
}

func TestName(t *testing.T) {
	valid := regexp.MustCompile(`^test[a-z0-9]*(-[a-z0-9]+)+$`)
	for _, test := range []string{"x", "Put/With a space", "ÄÖ//..", strings.Repeat("long-", 20), "xxxxxxxxxxxxxxxx-yyy"} {
		t.Run(test, func(t *testing.T) {
			a, b := Name(t), Name(t)
			if a == b || len(a) > 40 || !valid.MatchString(a) {
				t.Errorf("%s, %s", a, b)
			}
		})
	}
}

func refuses(addr string) func() bool {
	return func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}
}
