package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// A listing is the JSON of "workspaces".
type listing struct {
	Workspaces []listed `json:"workspaces"`
}

type listed struct {
	Name     string  `json:"name"`
	Selected bool    `json:"selected"`
	Holder   *holder `json:"holder,omitempty"` // with --locks, if it is locked
}

func (c *cli) workspacesCommand() *cobra.Command {
	locks := false
	cmd := &cobra.Command{
		Use:   "workspaces",
		Short: "List the workspaces",
		Long: `List the names of all workspaces that have a state, one a line, in the order of
the alphabet. The default workspace is among them only if it has a state. Of
files, as in Terraform, a workspace is listed as long as its directory is there,
also if its state has been deleted.

With --locks, those that are locked are followed by who holds the lock; that
takes one request more for each workspace.`,
		Example: example(
			"statelatch workspaces",
			"statelatch workspaces --locks \\",
			"    --url 's3://states/network?region=eu-central-1&use_lockfile=true'",
			`statelatch workspaces --json | jq -r '.workspaces[].name'`,
		),
		Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.on(cmd.Context(), func(b backend.Backend, selected string) error {
				list, err := c.list(cmd.Context(), b, selected, locks)
				if err != nil {
					return err
				}
				return c.print(list, func(w io.Writer) error { return c.printList(w, list) })
			})
		},
	}
	cmd.Flags().BoolVar(&locks, "locks", false, "show who holds each lock")
	return cmd
}

func (c *cli) list(ctx context.Context, b backend.Backend, selected string, locks bool) (listing, error) {
	names, err := allNames(ctx, b)
	list := listing{[]listed{}}
	for _, name := range names {
		list.Workspaces = append(list.Workspaces, listed{Name: name, Selected: name == selected})
	}
	if err != nil || !locks {
		return list, err
	}
	l, ok := backend.As[lock.Locker](b)
	if !ok {
		return list, errNoLocks
	}
	for i, w := range list.Workspaces {
		switch info, err := l.Holder(ctx, w.Name); {
		case err == nil:
			list.Workspaces[i].Holder = c.holder(info)
		case !errors.Is(err, lock.ErrNotHeld):
			return list, err
		}
	}
	return list, nil
}

func allNames(ctx context.Context, b backend.Backend) (names []string, err error) {
	for name, err := range b.List(ctx) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (c *cli) printList(w io.Writer, list listing) error {
	for _, ws := range list.Workspaces {
		lines := printable(ws.Name) + "\n"
		if h := ws.Holder; h != nil {
			since := ""
			if h.Created != nil {
				since = age(c.now().Sub(*h.Created)) + " "
			}
			lines += hang("  locked ", fmt.Sprintf("%sby %s, %s", since, h.Who, h.Operation))
			lines += hang("         ", "ID "+h.ID)
		}
		if _, err := io.WriteString(w, lines); err != nil {
			return err
		}
	}
	return nil
}
