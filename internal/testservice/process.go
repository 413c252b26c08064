package testservice

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// A process is one run of a program, in a process group of its own.
type process struct {
	pid  int
	done chan struct{} // closed once it has ended and been reaped
	err  error         // what it ended with; read after done
}

func launch(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = attributes()
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the thread, not the process, for the parent whose death
		// kills the child. This one stays as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() {
	if !p.ended() {
		killGroup(p.pid)
	}
	<-p.done
}

// terminate lets the process save what it has, for at most grace.
func (p *process) terminate(grace time.Duration) {
	if !p.ended() {
		terminateGroup(p.pid)
	}
	select {
	case <-p.done:
	case <-time.After(grace):
		p.kill()
	}
}

// Port returns a port that nobody listens on, for a server that the test starts itself.
func Port(t testing.TB) string {
	t.Helper()
	port, hold, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	hold.Close()
	return strconv.Itoa(port)
}

// freePort finds a port on the loopback that nobody listens on. As long as hold is
// open, no other test process is given it by freePort, since that takes the UDP
// port of the same number too. Nor does a connection that somebody makes take it,
// while a server restarts: it is below those that the system gives to connections
// (from 32768 on Linux, from 49152 elsewhere).
func freePort() (port int, hold io.Closer, err error) {
	for range 100 {
		port := 10_000 + rand.N(22_000)
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			return port, udp, tcp.Close()
		}
		udp.Close()
	}
	return 0, nil, fmt.Errorf("100 loopback ports between 10000 and 32000 are taken")
}
