package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/child"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/guard"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// A locked is the JSON of "lock" and "holder".
type locked struct {
	Workspace string  `json:"workspace"`
	Locked    bool    `json:"locked"`
	Holder    *holder `json:"holder"` // null if it is not locked
}

// taking is how a lock is taken.
type taking struct {
	operation, info string
	opts            lock.Options
	killAfter       time.Duration
}

func (c *cli) lockCommand() *cobra.Command {
	t := taking{}
	cmd := &cobra.Command{
		Use:   "lock [-- COMMAND [ARGUMENT...]]",
		Short: "Lock the state, for good or while a command runs",
		Long: `Without a COMMAND, take the lock of the workspace and print its ID. The lock
stays until "statelatch unlock ID", or until it is as old as --ttl says. There
is no such lock of files: theirs end with the process that takes them.

With a COMMAND, run it while holding the lock, and then release the lock. The
command finds the ID of the lock in STATELATCH_LOCK_ID. It runs in a process
group of its own, which gets the signals that statelatch gets, and in the
foreground of the terminal, if statelatch was. The exit code is the command's.

If the lock is lost (somebody broke it, or it could not be renewed in time), the
command and all that it has started get SIGTERM, and after --kill-after SIGKILL,
and the exit code is 8. A plain HTTP server does not tell who holds a lock:
there the command runs on. On Linux the command gets SIGTERM too if statelatch
is killed. On Windows only the command itself is ended.

With --ttl the lock expires that long after its last renewal, and is renewed
while the command runs. Not every service has such locks, and Terraform and
OpenTofu do not heed the time.`,
		Example: example(
			"statelatch lock -- make deploy",
			"statelatch lock --lock-timeout 10m --workspace prod -- ./migrate.sh",
			`id=$(statelatch lock --operation maintenance); …; statelatch unlock "$id"`,
		),
		Args: func(cmd *cobra.Command, args []string) error {
			switch dash := cmd.ArgsLenAtDash(); {
			case dash != 0 && len(args) > 0:
				return errors.New("a command to be run under the lock comes after --")
			case dash == 0 && len(args) == 0: // an empty variable, rather than a lock for good
				return errors.New("there is no command after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if t.opts.TTL < 0 || t.opts.TTL%time.Second != 0 {
				return usagef("--ttl is in whole seconds")
			}
			wait := c.lockOptions()
			t.opts.Timeout, t.opts.OnWait = wait.Timeout, wait.OnWait
			return c.onLocker(cmd.Context(), func(b backend.Backend, l lock.Locker, workspace string) error {
				if len(args) == 0 {
					return c.lock(cmd.Context(), b, l, workspace, t)
				}
				return c.runLocked(cmd.Context(), l, workspace, t, args)
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&t.operation, "operation", "statelatch lock", "what the lock is for, for others to see")
	f.StringVar(&t.info, "info", "", "more about it, for others to see")
	f.DurationVar(&t.opts.TTL, "ttl", 0, "let the lock expire, in whole seconds")
	f.DurationVar(&t.opts.Check, "check", 30*time.Second, "how often to look whether the lock is still there")
	f.DurationVar(&t.killAfter, "kill-after", 10*time.Second, "time for the command to end when the lock is lost")
	named(f.Lookup("operation"), freeText)
	named(f.Lookup("info"), freeText)
	for _, name := range []string{"ttl", "check", "kill-after"} {
		named(f.Lookup(name), "DURATION")
	}
	return cmd
}

func (t taking) record() lock.Info {
	info := lock.NewInfo(t.operation)
	info.Info = t.info
	return info
}

// lock takes a lock that stays.
func (c *cli) lock(ctx context.Context, b backend.Backend, l lock.Locker, workspace string, t taking) error {
	_, files := backend.As[*local.Backend](b)
	if _, inMemory := backend.As[*memory.Backend](b); files || inMemory {
		return hinted(fmt.Errorf("this lock would end with statelatch itself: %w", errors.ErrUnsupported), "Run a command under it: statelatch lock -- COMMAND")
	}
	staying := &staying{Locker: l, ttl: t.opts.TTL}
	t.opts.TTL, t.opts.Check = 0, -1
	held, err := lock.Acquire(ctx, staying, workspace, t.record(), t.opts)
	if err != nil {
		return err
	}
	err = ctx.Err()
	if err == nil {
		info := staying.stored
		err = c.print(locked{workspace, true, c.holder(info)}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, printable(info.ID))
			return err
		})
	}
	if err != nil { // nobody knows the ID
		return errors.Join(err, guard.Release(ctx, held))
	}
	c.note(`Workspace %q is locked until "%s".`, workspace, c.unlocking(workspace, held.ID()))
	return nil
}

// staying is a Locker whose locks are not kept alive: they last as long as they are
// to last without their holder.
type staying struct {
	lock.Locker
	ttl    time.Duration
	stored lock.Info
}

// As finds what Acquire waits with, but not what keeps a lock alive.
func (s *staying) As(target any) bool {
	waiter, ok := target.(*lock.Waiter)
	if ok {
		*waiter, ok = lock.As[lock.Waiter](s.Locker)
	}
	return ok
}

func (s *staying) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	info.TTL = s.ttl
	var err error
	s.stored, err = s.Locker.Lock(ctx, workspace, info)
	info = s.stored
	info.TTL = 0
	return info, err
}

// runLocked runs a command under a lock.
func (c *cli) runLocked(ctx context.Context, l lock.Locker, workspace string, t taking, args []string) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, child.Forwarded()...)
	defer signal.Stop(signals)
	held, err := c.acquireSignalled(ctx, l, workspace, t, signals)
	if err != nil {
		return err
	}
	code, err := c.runChild(ctx, held, workspace, signals, t.killAfter, args)
	lost := context.Cause(held.Context())
	released := guard.Release(ctx, held)
	var other *lock.HeldError
	switch {
	case lost != nil:
		return &lostError{lost}
	case (errors.Is(released, lock.ErrNotHeld) || errors.As(released, &other)) && code == 0:
		return &lostError{fmt.Errorf("the lock was lost while the command ran: %w", released)}
	case code != 0:
		return &exitError{code, errors.Join(err, released)}
	}
	return released
}

// acquireSignalled is acquireUnended, where signals end the waiting: there may never be
// a command to get them.
func (c *cli) acquireSignalled(ctx context.Context, l lock.Locker, workspace string, t taking, signals <-chan os.Signal) (*lock.Lock, error) {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stop error
	var group sync.WaitGroup
	taken := make(chan struct{})
	listen := sync.OnceFunc(func() {
		group.Go(func() {
			select {
			case s := <-signals:
				stop = signalled{s}
				cancel(stop)
			case <-taken:
			}
		})
	})
	onWait := t.opts.OnWait
	t.opts.OnWait = func(held *lock.HeldError) {
		listen()
		onWait(held)
	}
	held, err := acquireUnended(waiting, l, workspace, t)
	close(taken)
	group.Wait()
	if err == nil && stop != nil {
		err = errors.Join(context.Canceled, stop, guard.Release(ctx, held))
	}
	return held, err
}

// acquireUnended takes a lock whose context does not end with ctx: a command that was
// told to stop may still need it for a while. ctx ends the waiting.
func acquireUnended(ctx context.Context, l lock.Locker, workspace string, t taking) (*lock.Lock, error) {
	waiting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	held, err := lock.Acquire(waiting, l, workspace, t.record(), t.opts)
	if stop() || err != nil {
		return held, err
	}
	return nil, errors.Join(context.Canceled, context.Cause(ctx), guard.Release(ctx, held))
}

func (c *cli) runChild(ctx context.Context, held *lock.Lock, workspace string, signals chan os.Signal, grace time.Duration, args []string) (int, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it has to end in its own time, see child
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, c.stdout, c.stderr
	cmd.Env = append(os.Environ(), "STATELATCH_LOCK_ID="+held.ID(), "STATELATCH_WORKSPACE="+workspace)
	defer context.AfterFunc(ctx, func() {
		if sig := (signalled{}); !errors.As(context.Cause(ctx), &sig) { // which reaches signals by itself
			signals <- os.Interrupt
		}
	})()
	code, err := child.Run(cmd, child.Options{Signals: signals, Lost: held.Context().Done(), Grace: grace})
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return exitNoCommand, err
	case err != nil:
		return exitNotRunnable, err
	}
	return code, nil
}
