package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/guard"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
)

// A deleted is the JSON of "delete": what the state was.
type deleted struct {
	document
	Deleted bool `json:"deleted"` // true
}

func (c *cli) deleteCommand() *cobra.Command {
	force, lockID := false, ""
	cmd := &cobra.Command{
		Use:   "delete WORKSPACE",
		Short: "Delete the state of a workspace",
		Long: `Delete the state of a workspace, under a lock, and only if nobody else writes in
between. A state with resources is deleted only with --force: what they stand
for goes on to exist, and nobody knows of it any more.

--lock-id makes it work under a lock that "statelatch lock" has taken. The locks
of files are of use to none but the process that took them.`,
		Example: example(
			"statelatch delete review-1234",
			"statelatch delete review-1234 --force",
		),
		Args: arguments(1, "WORKSPACE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.place.workspace != "" {
				return usagef("delete takes the workspace as its argument, without --workspace")
			}
			c.place.workspace = args[0]
			return c.on(cmd.Context(), func(b backend.Backend, _ string) error {
				if lockID != "" {
					b = guard.Borrow(b, lockID)
				}
				was, err := c.deleteState(cmd.Context(), b, args[0], force)
				if err != nil {
					return err
				}
				return c.say(deleted{was, true}, "Workspace %q: the state is deleted; it was at serial %d.", args[0], was.Serial)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "delete a state that has resources, too")
	lockIDFlag(cmd, &lockID)
	return cmd
}

func (c *cli) deleteState(ctx context.Context, b backend.Backend, workspace string, force bool) (was document, err error) {
	if err := c.exists(ctx, b, workspace); err != nil {
		return was, err // before a lock leaves something where nothing was
	}
	err = guard.Do(ctx, b, workspace, lock.NewInfo("workspace-delete"), c.lockOptions(), func(ctx context.Context, id string) error {
		state, err := b.Read(ctx, workspace)
		if err != nil && !(force && errors.Is(err, backend.ErrCorrupt)) {
			return err
		}
		if n := resources(state.Data); n != 0 && !force {
			return hinted(fmt.Errorf("workspace %q has %s", workspace, counted(n)), "--force deletes the state all the same; the resources stay, and nobody knows of them any more.")
		}
		was = describe(workspace, state.Data, state.Revision)
		return b.Delete(ctx, workspace, backend.Condition{Revision: state.Revision, LockID: id})
	})
	return was, underLock(err)
}

func (c *cli) exists(ctx context.Context, b backend.Backend, workspace string) error {
	_, err := backend.Stat(ctx, b, workspace)
	if errors.Is(err, backend.ErrCorrupt) {
		return nil
	}
	return err
}

// resources counts the resources that a state manages; -1 if it does not show them.
func resources(data []byte) (n int) {
	var state struct {
		Resources []struct {
			Mode      string
			Instances []struct{}
		}
	}
	header, err := statefile.ReadHeader(data) // other formats keep them elsewhere
	if err != nil || header.Encrypted || json.Unmarshal(data, &state) != nil {
		return -1
	}
	for _, r := range state.Resources {
		if r.Mode == "managed" {
			n += len(r.Instances)
		}
	}
	return n
}

func counted(n int) string {
	if n < 0 {
		return "a state whose resources cannot be seen"
	}
	return plural(n, "resource")
}
