package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// An unlocked is the JSON of "unlock".
type unlocked struct {
	Workspace string `json:"workspace"`
	Unlocked  bool   `json:"unlocked"` // true
	LockID    string `json:"lock_id"`
}

func (c *cli) unlockCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unlock ID",
		Short: "Release a lock by its ID, whoever took it",
		Long: `Release the lock of the workspace if ID holds it: one that "statelatch lock"
took, or one that a run of Terraform, OpenTofu or another tool left behind. Make
sure that the run is over. A lock that has another ID stays.

The lock of files ends with the process that holds it, and cannot be released by
another. A lock whose record cannot be read has an ID too, which begins with
"unreadable-"; "statelatch holder" shows it.`,
		Example: example(
			"statelatch unlock 0f6a2b0e-6d5c-0a49-5c0d-e4ac40b26ab1",
			"statelatch unlock --workspace prod 1732475012345678",
		),
		Args: arguments(1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.onLocker(cmd.Context(), func(_ backend.Backend, l lock.Locker, workspace string) error {
				if err := l.Unlock(cmd.Context(), workspace, args[0]); err != nil {
					return c.stillHeld(err, args[0])
				}
				return c.say(unlocked{workspace, true, args[0]}, "Workspace %q is unlocked.", workspace)
			})
		},
	}
}

// stillHeld says of a lock that another ID holds, or that cannot be released from here,
// what can be done.
func (c *cli) stillHeld(err error, id string) error {
	held, ok := errors.AsType[*lock.HeldError](err)
	switch {
	case !ok:
		return err
	case c.files || held.Holder.ID == id:
		return hinted(err, "It ends with the process that holds it; nobody else can release it.")
	}
	return hinted(err, "That is another lock. If its holder is gone for good: "+c.unlocking(held.Workspace, held.Holder.ID))
}

func (c *cli) holderCommand() *cobra.Command {
	exit := false
	cmd := &cobra.Command{
		Use:   "holder",
		Short: "Show who holds the lock, and for how long",
		Long: `Show who holds the lock of the workspace, since when, and its ID. That nobody
does is no failure. With --exit-code, the exit code is 3 if somebody does.`,
		Example: example(
			"statelatch holder --workspace prod",
			"statelatch holder --json | jq .holder.age_seconds",
		),
		Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.onLocker(cmd.Context(), func(_ backend.Backend, l lock.Locker, workspace string) error {
				info, err := l.Holder(cmd.Context(), workspace)
				switch {
				case errors.Is(err, lock.ErrNotHeld):
					return c.say(locked{Workspace: workspace}, "Workspace %q is not locked.", workspace)
				case err != nil:
					return err
				}
				err = c.print(locked{workspace, true, c.holder(info)}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "Workspace %q is locked.\n%s", workspace, c.describe(info))
					return err
				})
				if err == nil && exit {
					err = &exitError{code: exitHeld}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&exit, "exit-code", false, "exit with 3 if it is locked")
	return cmd
}
