package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
)

// A program is what all runs of the command have in common.
type program struct {
	mux *backend.Mux
	now func() time.Time
}

// cli is one run: the streams, and the flags that every command has.
type cli struct {
	program
	stdin          io.Reader
	stdout, stderr io.Writer

	place       place
	json        bool
	lockTimeout time.Duration

	began bool           // the command line was understood
	files bool           // the backend's locks end with their process
	cmd   *cobra.Command // that runs
}

// run runs one command, and returns its exit code. It touches no global state but
// the environment and the working directory, both of which it only reads.
func (p program) run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{program: p, stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.rootCommand()
	root.SetArgs(terraformStyle(args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c.json = asksForJSON(args) // also for what is wrong with the command line
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !c.began {
		err = &usageError{err}
	}
	c.cmd = cmd
	return c.report(withCause(ctx, err))
}

func asksForJSON(args []string) bool {
	if dash := slices.Index(args, "--"); dash >= 0 {
		args = args[:dash]
	}
	return slices.Contains(args, "--json")
}

// terraformStyle rewrites -chdir=DIR and -backend-config=ITEM, as Terraform has them,
// which pflag would take for -c -h -d …
func terraformStyle(args []string) []string {
	rewritten := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(rewritten[i:], args[i:])
			break
		}
		if name, _, _ := strings.Cut(arg, "="); name == "-chdir" || name == "-backend-config" {
			arg = "-" + arg
		}
		rewritten[i] = arg
	}
	return rewritten
}

func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "statelatch",
		Short: "Read, write, lock and copy infrastructure states, wherever they are kept",
		Long:  rootHelp,
		// Errors are printed by report, once, and without the usage.
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			c.cmd = cmd // errors may be told while it runs
			if err := c.checkFlags(cmd); err != nil {
				return err
			}
			c.began = true
			return nil
		},
		Args: unknownCommand, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.globalFlags(root)
	root.SetFlagErrorFunc(unknownFlag)
	root.SetUsageTemplate(usageTemplate)
	root.AddCommand(
		c.workspacesCommand(), c.pullCommand(), c.pushCommand(), c.outputsCommand(), c.deleteCommand(),
		c.lockCommand(), c.unlockCommand(), c.holderCommand(),
		c.copyCommand(), c.probeCommand(), c.serveCommand(), c.versionCommand(),
		exitCodesTopic(), environmentTopic(),
	)
	addHelp(root)
	return root
}

func (c *cli) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&c.place.dir, "chdir", "", "directory whose backend is used (default: the current one)")
	f.StringVar(&c.place.url, "url", "", "URL of the backend, instead of a directory")
	f.StringArrayVar(&c.place.config, "backend-config", nil, "NAME=VALUE or a file, as for terraform init; repeatable")
	f.StringVar(&c.place.program, "program", "", "terraform or opentofu: whose rules hold in a directory (default: opentofu)")
	f.StringVar(&c.place.workspace, "workspace", "", "workspace (default: the selected one)")
	f.DurationVar(&c.lockTimeout, "lock-timeout", 0, "how long to wait for a lock")
	f.BoolVar(&c.json, "json", false, "print JSON")
	for flag, name := range map[string]string{
		"chdir": "DIR", "url": "URL", "backend-config": "ITEM", "program": "NAME", "workspace": "NAME", "lock-timeout": "DURATION",
	} {
		named(f.Lookup(flag), name)
	}
}

// checkFlags refuses values that cannot be meant. An empty one is mostly a variable that
// is not set: without it, the command would go on with something else.
func (c *cli) checkFlags(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.String() == "" && f.Value.Type() != freeText {
			err = usagef("--%s is empty", f.Name)
		}
	})
	if _, known := programs[c.place.program]; err == nil && !known {
		err = usagef("--program is terraform or opentofu")
	}
	return err
}

// lockOptions are those of the command's own locks.
func (c *cli) lockOptions() lock.Options {
	return lock.Options{Timeout: c.lockTimeout, OnWait: func(held *lock.HeldError) {
		c.note("Waiting for the lock of workspace %q: held by %s.", held.Workspace, held.Holder)
	}}
}

// on opens the backend and calls do with it and the workspace.
func (c *cli) on(ctx context.Context, do func(b backend.Backend, workspace string) error) error {
	b, workspace, err := c.place.open(ctx, c.mux)
	if err != nil {
		return err
	}
	defer b.Close()
	_, c.files = backend.As[*local.Backend](b)
	return do(b, workspace)
}

// onLocker is on, for what needs locks.
func (c *cli) onLocker(ctx context.Context, do func(b backend.Backend, l lock.Locker, workspace string) error) error {
	return c.on(ctx, func(b backend.Backend, workspace string) error {
		l, ok := backend.As[lock.Locker](b)
		if !ok {
			return errNoLocks
		}
		return do(b, l, workspace)
	})
}
