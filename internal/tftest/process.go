package tftest

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// patience is how long a command may take, waiting for locks and gates included.
const patience = 2 * time.Minute

// A Process is a command that runs. It is killed when its test ends.
type Process struct {
	dir  *Dir
	cmd  *exec.Cmd
	kill context.CancelFunc
	out  output
	done chan struct{} // closed when it has ended, and err is set
	err  error
}

// Start starts a command.
func (d *Dir) Start(args ...string) *Process {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	p := &Process{dir: d, kill: cancel, done: make(chan struct{}), out: output{grown: make(chan struct{})}}
	p.cmd = exec.CommandContext(ctx, d.program.path, args...)
	p.cmd.Dir, p.cmd.Env = d.Path, d.env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		cancel()
		d.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		cancel()
		close(p.done)
	}()
	d.t.Cleanup(p.Kill)
	return p
}

// PID returns its process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends it as SIGKILL does, and returns when it is gone.
func (p *Process) Kill() {
	p.kill()
	<-p.done
}

// Wait returns all that it printed when it has ended, and an error if it failed.
func (p *Process) Wait() (string, error) {
	<-p.done
	text, _ := p.out.look()
	return text, p.err
}

// Must is Wait for a command that has to succeed.
func (p *Process) Must() string {
	p.dir.t.Helper()
	text, err := p.Wait()
	if err != nil {
		p.dir.t.Fatalf("%s: %v\n%s", p.cmd, err, text)
	}
	return text
}

// Until returns when it has printed text. If it ends without, the test fails.
func (p *Process) Until(text string) {
	p.dir.t.Helper()
	for {
		ended := p.ended() // before looking, so that its last words count
		printed, grown := p.out.look()
		switch {
		case strings.Contains(printed, text):
			return
		case ended:
			p.dir.t.Fatalf("%s ended (%v) without printing %q:\n%s", p.cmd, p.err, text, printed)
		}
		select {
		case <-grown:
		case <-p.done:
		}
	}
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// output is what a process has printed so far.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed, and made anew, with each Write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) look() (text string, grown <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.grown
}
