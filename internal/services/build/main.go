// Build builds the servers and command lines that the tests run against, those
// that are missing or that are pinned to another version by now:
//
//	go run ./internal/services/build [name…]
//
// Without a name, it builds all. It says what it builds, where, and how long that
// took. What is missing on this machine is said before anything is built.
// Packages are fetched by go and npm from wherever these are set up to fetch.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/statelatch/statelatch/internal/services"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, names []string) error {
	if len(names) == 0 {
		names = services.Names()
	}
	var missing []services.Service
	for _, name := range names {
		s, err := services.Find(name)
		if err != nil {
			return err
		}
		if !s.Built() {
			missing = append(missing, s)
		}
	}
	if err := prerequisites(missing); err != nil {
		return err
	}
	for _, s := range missing {
		if err := build(ctx, w, s); err != nil {
			return err
		}
	}
	return nil
}
