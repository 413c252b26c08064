package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/probing"
	"github.com/statelatch/statelatch/s3"
)

// A probed is the JSON of "probe".
type probed struct {
	Workspace string       `json:"workspace"`
	OK        bool         `json:"ok"` // no step failed
	Steps     []probedStep `json:"steps"`
	S3        *s3Report    `json:"s3,omitempty"` // with --write, on s3
}

type probedStep struct {
	Name         string         `json:"name"`
	Status       probing.Status `json:"status"` // ok, failed or skipped
	Detail       string         `json:"detail,omitempty"`
	Milliseconds int64          `json:"milliseconds"`
	Error        *problem       `json:"error,omitempty"`
}

// An s3Report says what an S3 endpoint honours.
type s3Report struct {
	CreateOnce     bool  `json:"create_once"`
	ReplaceOnMatch bool  `json:"replace_on_match"`
	DeleteOnMatch  bool  `json:"delete_on_match"`
	Versioning     *bool `json:"versioning"` // null: the endpoint does not tell
}

func (c *cli) probeCommand() *cobra.Command {
	write := false
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Find out what the service and the credentials allow",
		Long: `Try one thing after the other, and say how each went: list the workspaces, read
the state, see who holds its lock, lock it and unlock it. That changes nothing;
the lock is taken only if there is a state and nobody holds it.

With --write, also create a state in a workspace of its own, with a random name
that begins with statelatch-probe-, and delete it in the end; in between, see
whether the service refuses what must be refused: a second creation, a write
that goes by an old revision, a second lock. On S3, also tell which conditions
the endpoint honours. (A directory of files keeps an empty directory of that
name.)

The exit code is that of the first step that failed.`,
		Example: example("statelatch probe", "statelatch probe --write --json"),
		Args:    arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return c.on(ctx, func(b backend.Backend, workspace string) error {
				steps := probing.Look(ctx, b, workspace, c.tell)
				result := probed{Workspace: workspace}
				if write { // if it was interrupted, that fails
					steps = append(steps, probing.Write(ctx, b, c.tell)...)
					if endpoint, ok := backend.As[*s3.Backend](b); ok {
						var step probing.Step
						result.S3, step = probeS3(ctx, endpoint)
						c.tell(step)
						steps = append(steps, step)
					}
				}
				return c.probed(result, steps)
			})
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "write to a workspace of its own, too")
	return cmd
}

func probeS3(ctx context.Context, b *s3.Backend) (*s3Report, probing.Step) {
	start := time.Now()
	r, err := b.Probe(ctx)
	step := probing.Step{Name: "conditions of the endpoint", Status: probing.OK, Took: time.Since(start)}
	if err != nil {
		step.Status, step.Err = probing.Failed, err
		return nil, step
	}
	report := &s3Report{CreateOnce: r.CreateOnce, ReplaceOnMatch: r.ReplaceOnMatch, DeleteOnMatch: r.DeleteOnMatch}
	versions := "it does not tell whether it keeps versions"
	if !r.VersioningUnknown {
		report.Versioning = &r.Versioning
		versions = "keeps versions: " + yes(r.Versioning)
	}
	step.Detail = fmt.Sprintf("create once: %s, replace on match: %s, delete on match: %s; %s", yes(r.CreateOnce), yes(r.ReplaceOnMatch), yes(r.DeleteOnMatch), versions)
	return report, step
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// tell prints a step when it is done, for people.
func (c *cli) tell(s probing.Step) {
	if c.json {
		return
	}
	if s.Err != nil {
		s.Detail = s.Err.Error()
	}
	if s.Detail != "" {
		s.Name += ": " + s.Detail
	}
	_, _ = io.WriteString(c.stdout, hang(fmt.Sprintf("%-8s ", s.Status), s.Name)) // what cannot be printed, the last line cannot either
}

func (c *cli) probed(result probed, steps []probing.Step) error {
	var first error
	for _, s := range steps {
		step := probedStep{Name: s.Name, Status: s.Status, Detail: printable(s.Detail), Milliseconds: s.Took.Milliseconds()}
		if s.Err != nil {
			step.Error = c.problem(s.Err, classify(s.Err).code)
			if first == nil {
				first = s.Err
			}
		}
		result.Steps = append(result.Steps, step)
	}
	result.OK = first == nil
	err := c.print(result, func(w io.Writer) error {
		if !result.OK {
			return nil
		}
		_, err := fmt.Fprintln(w, "Nothing failed.")
		return err
	})
	if first != nil {
		err = hinted(&classedError{classify(first), errors.New("a step failed")}, "The first that failed says most.")
	}
	return err
}
