package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/copying"
	"github.com/statelatch/statelatch/lock"
)

// A copied is the JSON of "copy".
type copied struct {
	DryRun     bool        `json:"dry_run"`
	Copied     int         `json:"copied"` // in a dry run: would be
	Equal      int         `json:"equal"`
	Empty      int         `json:"empty"`
	Failed     int         `json:"failed"`
	Workspaces []copiedOne `json:"workspaces"`
	results    []copying.Result
}

type copiedOne struct {
	Name     string         `json:"name"`
	Status   copying.Status `json:"status"` // copied, equal, empty or failed
	Size     int            `json:"size"`
	SHA256   string         `json:"sha256,omitempty"`
	Replaced bool           `json:"replaced"` // the destination had a state
	Unlocked bool           `json:"unlocked"` // one of the two has no locks
	Error    *problem       `json:"error,omitempty"`
}

// copyFlags are what a copy is to be.
type copyFlags struct {
	names         []string
	fromConfig    []string
	toConfig      []string
	force, dryRun bool
	parallel      int
	journal       string
}

func (c *cli) copyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy SRC DST",
		Short: "Copy states from one backend to another",
		Long: `Copy all workspaces that have a state, or those chosen with --workspace, from
SRC to DST. Each is a URL, or a directory that Terraform or OpenTofu is
configured in.

A state is copied byte for byte, with the lock of both sides held, and read back
and compared by its SHA-256. A state that the destination has is replaced only
if it is older: of the same lineage, and with a lower serial, or the same serial
and the same contents. One of another lineage is replaced if it has neither
resources nor outputs. --force sets that aside. The source is not changed.

What fails with one workspace does not stop the others. The copy is resumed by
running it again: what is equal already is skipped.

While it runs, it keeps a journal in a file of this machine (--journal; by
default in the user's cache directory). If it is killed, it leaves the locks
that it holds at that moment. The next run of the same copy, on this machine,
finds that in the journal, breaks those locks and no others, and says so.
Elsewhere, "statelatch unlock" breaks them one by one.`,
		Example: example(
			"statelatch copy --dry-run . \\",
			"    's3://states/network?region=eu-central-1&use_lockfile=true'",
			"statelatch copy old new --workspace prod --workspace staging",
			"statelatch copy local:terraform.tfstate consul:///states/network --json",
		),
		Args: arguments(2, "SRC", "DST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.place.url != "" || c.place.dir != "" || c.place.config != nil {
				return usagef("copy takes its two places as arguments, without --url, --chdir and --backend-config")
			}
			if slices.Contains(f.names, "") {
				return usagef("--workspace is empty")
			}
			if f.parallel < 1 {
				return usagef("--parallel is 1 or more")
			}
			return c.copy(cmd.Context(), args[0], args[1], f)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&f.names, "workspace", nil, "copy this workspace; repeatable (default: all)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and lock and write nothing")
	flags.BoolVar(&f.force, "force", false, "disregard lineage and serial")
	flags.IntVar(&f.parallel, "parallel", 8, "how many workspaces at once; each is in memory, twice")
	flags.StringArrayVar(&f.fromConfig, "src-config", nil, "as --backend-config, for the directory SRC")
	flags.StringArrayVar(&f.toConfig, "dst-config", nil, "as --backend-config, for the directory DST")
	flags.StringVar(&f.journal, "journal", "", "directory of the journal")
	for flag, name := range map[string]string{
		"workspace": "NAME", "parallel": "N", "src-config": "ITEM", "dst-config": "ITEM", "journal": "DIR",
	} {
		named(flags.Lookup(flag), name)
	}
	return cmd
}

func (c *cli) copy(ctx context.Context, src, dst string, f copyFlags) (err error) {
	from, err := placeOf(src, f.fromConfig)
	if err != nil {
		return err
	}
	to, err := placeOf(dst, f.toConfig)
	if err != nil {
		return err
	}
	for _, p := range []*place{&from, &to} {
		if p.url == "" {
			p.program = c.place.program
		}
	}
	job := copying.Job{Names: f.names, Force: f.force, DryRun: f.dryRun, Parallel: f.parallel, Lock: c.lockOptions()}
	job.Start, job.Done = c.progress("copying")
	if job.From, _, err = from.open(ctx, c.mux); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer job.From.Close()
	if job.To, _, err = to.open(ctx, c.mux); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	defer job.To.Close()
	var results []copying.Result
	whole := false
	if !f.dryRun {
		journal, failed := openJournal(ctx, f.journal, from, to, f.names)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, journal.Close(ctx, results, whole)) }()
		job.Run, job.Dead, job.Left, job.Enter = journal.Run, journal.Dead, journal.Left, journal.Enter
	}
	if results, err = job.Copy(ctx); results == nil && err != nil {
		return err
	}
	whole = err == nil
	result := c.copied(results, f.dryRun)
	if printed := c.print(result, func(w io.Writer) error { return c.printCopied(w, result, len(job.Dead)) }); err == nil {
		err = printed
	}
	if err == nil && result.Failed > 0 {
		err = copyError(result)
	}
	return err
}

func openJournal(ctx context.Context, dir string, from, to place, names []string) (*copying.Journal, error) {
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, hinted(fmt.Errorf("no place for the journal: %w", err), "Name one with --journal.")
		}
		dir = filepath.Join(cache, "statelatch")
	}
	host, err := os.Hostname() // a directory may be shared; the locks of files may not work there
	if err != nil {
		return nil, err
	}
	j, err := copying.OpenJournal(ctx, dir, host+" "+from.String(), to.String(), names)
	if held := (*lock.HeldError)(nil); errors.As(err, &held) {
		// The lock is that of the journal, and of no workspace.
		err = fmt.Errorf("this very copy is being made already, by %s", printable(held.Holder.Who))
		return nil, hinted(&classedError{class{"held", exitHeld}, err}, "Wait until it has ended.")
	}
	return j, hinted(err, "--journal names another directory for it.")
}

func (c *cli) copied(results []copying.Result, dryRun bool) copied {
	result := copied{DryRun: dryRun, Workspaces: []copiedOne{}, results: results}
	counts := map[copying.Status]*int{
		copying.Copied: &result.Copied, copying.Equal: &result.Equal, copying.Empty: &result.Empty, copying.Failed: &result.Failed,
	}
	for _, r := range results {
		*counts[r.Status]++
		one := copiedOne{Name: r.Workspace, Status: r.Status, Size: r.Size, Replaced: r.Replaced, Unlocked: r.Unlocked}
		if r.Size > 0 {
			one.SHA256 = hex.EncodeToString(r.SHA256[:])
		}
		if err := underLock(r.Err); err != nil {
			one.Error = c.problem(err, classify(err).code)
		}
		result.Workspaces = append(result.Workspaces, one)
	}
	return result
}

func (c *cli) printCopied(w io.Writer, result copied, cutShort int) error {
	var lines []string
	if cutShort > 0 {
		lines = append(lines, fmt.Sprintf("Resumed after %s that ended without releasing all locks.", plural(cutShort, "run")))
	}
	verb := "copied"
	if result.DryRun {
		verb = "to be copied"
	}
	for _, r := range result.results {
		switch {
		case r.Status == copying.Failed:
			lines = append(lines, fmt.Sprintf("%s: failed, %s", r.Workspace, r.Err))
		case r.Status == copying.Copied && (result.DryRun || r.Unlocked):
			line := fmt.Sprintf("%s: %s, %d bytes", r.Workspace, verb, r.Size)
			if r.Replaced {
				line += ", over an older state"
			}
			if r.Unlocked {
				line += ", without a lock on both sides"
			}
			lines = append(lines, line)
		}
	}
	lines = append(lines, fmt.Sprintf("%s: %d %s, %d equal, %d empty, %d failed.",
		plural(len(result.results), "workspace"), result.Copied, verb, result.Equal, result.Empty, result.Failed))
	for _, line := range lines {
		if _, err := io.WriteString(w, wrap(line)); err != nil {
			return err
		}
	}
	return nil
}

// copyError is the error of a copy of which parts failed; its class is theirs, if it
// is the same of all.
func copyError(result copied) error {
	var classes []class
	for _, r := range result.results {
		if r.Err != nil {
			classes = append(classes, classify(underLock(r.Err)))
		}
	}
	err := &classedError{classes[0], fmt.Errorf("%d of %s failed", result.Failed, plural(len(result.results), "workspace"))}
	if len(slices.Compact(classes)) > 1 {
		err.class = class{"failed", exitFailed}
	}
	return hinted(err, "Running the same copy again goes on with the rest.")
}

// progress returns what shows, on a terminal, how far a copy is.
func (c *cli) progress(what string) (start func(int), done func(copying.Result)) {
	if !isTerminal(c.stderr) {
		return func(int) {}, func(copying.Result) {}
	}
	var bar *progressbar.ProgressBar
	return func(total int) {
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(c.stderr), progressbar.OptionSetDescription(what),
				progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
		}, func(copying.Result) {
			_ = bar.Add(1) // what shows nothing, harms nothing
		}
}
