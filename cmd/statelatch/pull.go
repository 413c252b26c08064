package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/statefile"
)

// A document is what JSON says about a state.
type document struct {
	Workspace string `json:"workspace"`
	Revision  string `json:"revision"`
	Serial    uint64 `json:"serial"`
	Lineage   string `json:"lineage"`
	Encrypted bool   `json:"encrypted"` // by OpenTofu
	Size      int    `json:"size"`      // in bytes
	SHA256    string `json:"sha256"`
}

func describe(workspace string, data []byte, revision backend.Revision) document {
	// What is no state has no serial and no lineage; it is still kept.
	header, _ := statefile.ReadHeader(data)
	return document{workspace, string(revision), header.Serial, header.Lineage, header.Encrypted, len(data), digest(data)}
}

// A pulled is the JSON of "pull".
type pulled struct {
	document
	Modified *time.Time      `json:"modified"`        // null if the service does not say
	State    json.RawMessage `json:"state,omitempty"` // the document, unless --out took it
}

func (c *cli) pullCommand() *cobra.Command {
	out, damaged := "", false
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Print the state",
		Long: `Print the state of the workspace, byte for byte as it is stored. It takes no
lock. A state holds secrets: --out writes it to a file that nobody else can
read, and replaces that file, or the one that a symbolic link leads to, only
once the whole state is there.

A state that the backend finds damaged (its digest is wrong, or a part missing)
is printed with --damaged, as far as it is there; the exit code is 1 all the
same.

With --json, the state is a member of an object that also has its revision,
serial, lineage and digest.`,
		Example: example(
			"statelatch pull --out backup.tfstate",
			"statelatch pull --workspace prod | jq .serial",
		),
		Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.on(cmd.Context(), func(b backend.Backend, workspace string) error {
				return c.pull(cmd.Context(), b, workspace, out, damaged)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the state to a file instead of printing it")
	named(cmd.Flags().Lookup("out"), "FILE")
	cmd.Flags().BoolVar(&damaged, "damaged", false, "print a state that is damaged, too")
	return cmd
}

func (c *cli) pull(ctx context.Context, b backend.Backend, workspace, out string, damaged bool) error {
	state, found := b.Read(ctx, workspace)
	if found != nil && !(damaged && errors.Is(found, backend.ErrCorrupt) && len(state.Data) > 0) {
		return found
	}
	result := pulled{document: describe(workspace, state.Data, state.Revision)}
	if !state.Modified.IsZero() {
		modified := state.Modified.UTC()
		result.Modified = &modified
	}
	var err error
	switch {
	case out != "":
		err = replaceFile(out, state.Data)
	case c.json && !json.Valid(state.Data):
		err = fmt.Errorf("the state is not JSON, so --json cannot show it; use --out")
	default:
		result.State = state.Data
	}
	if err != nil {
		return err
	}
	err = c.print(result, func(w io.Writer) error {
		if out != "" {
			return nil
		}
		_, err := w.Write(state.Data)
		return err
	})
	return cmp.Or(err, found)
}

// replaceFile puts data in a file that only its owner can read, at once or not at
// all. Of a symbolic link, it replaces what the link leads to.
func replaceFile(name string, data []byte) error {
	name, err := replaceable(name)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), ".statelatch-*")
	if err != nil {
		return fileError(fmt.Errorf("%s cannot be written: %w", name, errors.Unwrap(err)))
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // if it has not been renamed
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temporary.Name(), name)
	}
	return fileError(err)
}

// replaceable returns the name of the file that a name leads to. A device or a pipe, such
// as /dev/stdout may be, is none.
func replaceable(name string) (string, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.Mode().IsRegular():
		return filepath.EvalSymlinks(name)
	case err == nil:
		return "", usagef("%s is no file that could be replaced; without --out, the state goes to standard output", name)
	}
	if _, link := os.Lstat(name); link == nil {
		return "", fileError(fmt.Errorf("%s is a symbolic link that leads to no file: %w", name, errors.Unwrap(err)))
	}
	return name, nil
}
