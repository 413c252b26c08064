// Statelatch reads, writes, locks and copies the states of Terraform, OpenTofu and
// other tools, wherever they are kept. "statelatch help" tells the rest.
//
// Each command is in a file of its name: its help, its flags, one call, one print.
// What is more than that is a package under internal: guard (work under a lock),
// child (a command that a lock protects), copying and probing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/statelatch/statelatch/all"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as by nohup, or a shell's "&" in a script
			signal.Notify(signals, s)
		}
	}
	// A reader that goes away must not end a process that still holds a lock.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() { // further ones change nothing: releasing a lock takes a few seconds at most
		for s := range signals {
			cancel(signalled{s})
		}
	}()
	p := program{mux: all.Mux(), now: time.Now}
	os.Exit(p.run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// signalled is the cause of a context that a signal has ended.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return "stopped by a signal: " + s.String() }

// exitCode is what a shell makes of the end by that signal.
func (s signalled) exitCode() int {
	if number, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return exitInterrupted
}
