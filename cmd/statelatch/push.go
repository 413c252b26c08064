package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/guard"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
)

// A pushed is the JSON of "push".
type pushed struct {
	document
	Written bool `json:"written"` // false: that very state was there already
}

// push is what a push is to do.
type push struct {
	data   []byte
	force  bool
	lockID string // of a lock that somebody else holds for us
}

func (c *cli) pushCommand() *cobra.Command {
	var p push
	cmd := &cobra.Command{
		Use:   "push [FILE|-]",
		Short: "Replace the state",
		Long: `Replace the state of the workspace by the document in FILE, or on standard
input, byte for byte. It is done under a lock, and only if nobody else writes in
between.

The new state must be of the same lineage as the one that is there and have a
higher serial, or the same serial and the same contents. A state with neither
resources nor outputs may be replaced by any. --force sets these rules aside,
but not the protection from somebody who writes at the same time. Unlike
"terraform state push", it stores the serial and lineage that the document has.

If the state cannot be stored, FILE still has it. A document from standard input
is then saved in the file errored.tfstate, or one of a similar name, and the
message says which.

--lock-id makes it work under a lock that "statelatch lock" has taken. The locks
of files are of use to none but the process that took them.`,
		Example: example(
			"statelatch push edited.tfstate",
			"statelatch pull --workspace a | statelatch push --workspace b",
			`statelatch push edited.tfstate --lock-id "$STATELATCH_LOCK_ID"`,
		),
		Args: arguments(0, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "-"
			if len(args) == 1 {
				name = args[0]
			}
			var err error
			if p.data, err = c.document(cmd.Context(), name); err != nil {
				return err
			}
			var result pushed
			err = c.on(cmd.Context(), func(b backend.Backend, workspace string) (err error) {
				result, err = c.push(cmd.Context(), b, workspace, p)
				return err
			})
			if err := c.keeping(name, p.data, err); err != nil {
				return err
			}
			if !result.Written {
				return c.say(result, "Workspace %q has this state already (serial %d).", result.Workspace, result.Serial)
			}
			return c.say(result, "Workspace %q is now at serial %d (%d bytes).", result.Workspace, result.Serial, result.Size)
		},
	}
	cmd.Flags().BoolVar(&p.force, "force", false, "disregard lineage and serial")
	lockIDFlag(cmd, &p.lockID)
	return cmd
}

func lockIDFlag(cmd *cobra.Command, id *string) {
	cmd.Flags().StringVar(id, "lock-id", "", "work under this lock, and leave it")
	named(cmd.Flags().Lookup("lock-id"), "ID")
}

// document reads a state from a file, or from standard input.
func (c *cli) document(ctx context.Context, name string) (data []byte, err error) {
	switch {
	case name != "-":
		data, err = interruptible(ctx, func() ([]byte, error) { return readFile(name) })
		err = fileError(err)
	case isTerminal(c.stdin):
		return nil, usagef("push needs a FILE, or a state on standard input")
	default:
		name = "standard input"
		data, err = interruptible(ctx, func() ([]byte, error) { return limit.ReadAll(c.stdin, -1, maxState) })
	}
	if err == nil && int64(len(data)) > maxState {
		err = errTooLarge
	}
	if err != nil {
		return nil, err
	}
	if _, err := statefile.ReadHeader(data); err != nil {
		return nil, fmt.Errorf("%s is no state that could be pushed: %w", name, err)
	}
	return data, nil
}

// maxState is how large a state may be, as all backends have it.
var maxState = limit.Of(0)

var errTooLarge = fmt.Errorf("%w: it may have 1 GiB at most", backend.ErrTooLarge)

// readFile reads a file that may be a state. Of one that may be none, not everything.
func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && info.Size() > maxState {
		err = errTooLarge
	}
	if err != nil {
		return nil, err
	}
	return limit.ReadAll(file, info.Size(), maxState)
}

// interruptible does what read does, until ctx ends: from a pipe there may never come
// anything. Read goes on then, so it must change nothing.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (c *cli) push(ctx context.Context, b backend.Backend, workspace string, p push) (pushed, error) {
	if p.lockID != "" {
		b = guard.Borrow(b, p.lockID)
	}
	written := false
	revision, err := backend.Update(ctx, b, workspace, lock.NewInfo("state-push"), c.lockOptions(),
		func(_ context.Context, current backend.State) ([]byte, error) {
			if written = !bytes.Equal(p.data, current.Data); !written {
				return nil, nil
			}
			if p.force {
				return p.data, nil
			}
			err := statefile.CheckPush(p.data, current.Data)
			if !as[*statefile.LineageError](err) && !as[*statefile.SerialError](err) {
				err = hinted(err, forceHint) // what is there cannot be read
			}
			return p.data, err
		})
	return pushed{describe(workspace, p.data, revision), written}, underLock(plainly(err))
}

// An unstoredError says that a state was not stored, or perhaps not.
type unstoredError struct{ error }

func (e *unstoredError) Error() string {
	if errors.Is(e.error, backend.ErrUnknown) {
		return "whether the new state was stored is not known: " + e.error.Error()
	}
	return "the new state was not stored: " + e.error.Error()
}

func (e *unstoredError) Unwrap() error { return e.error }

// plainly says what a backend.WriteError says without the copy of the state, which
// the error of a command does not hand back.
func plainly(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && as[*backend.WriteError](err) {
		errs := slices.Clone(joined.Unwrap())
		for i, err := range errs {
			errs[i] = plainly(err)
		}
		return errors.Join(errs...)
	}
	if e, ok := errors.AsType[*backend.WriteError](err); ok {
		return &unstoredError{e.Err}
	}
	return err
}

// keeping makes sure that a document that was not stored is not lost: one from
// standard input is nowhere else.
func (c *cli) keeping(name string, data []byte, err error) error {
	if err == nil || name != "-" || releaseAlone(err) {
		return err
	}
	saved, failed := saveNew("errored.tfstate", data)
	if failed != nil {
		return fmt.Errorf("%w; and what was on standard input could not be saved: %w", err, failed)
	}
	return &savedError{err, saved}
}

// releaseAlone reports whether nothing failed but giving the lock back.
func releaseAlone(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) { // which does not enter joined errors
		if _, ok := err.(*lock.ReleaseError); ok { //nolint:errorlint // a joined one does not count
			return true
		}
	}
	return false
}

// saveNew writes data to a new file, whose name is like name.
func saveNew(name string, data []byte) (string, error) {
	ext := filepath.Ext(name)
	base := name[:len(name)-len(ext)]
	for n := 2; ; n++ {
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			name = fmt.Sprintf("%s-%d%s", base, n, ext)
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = file.Write(data)
		return name, errors.Join(err, file.Sync(), file.Close())
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
