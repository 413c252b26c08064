package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/statefile"
)

// outputs is the JSON of "outputs".
type outputs struct {
	Workspace string         `json:"workspace"`
	Serial    uint64         `json:"serial"`
	Lineage   string         `json:"lineage"`
	Outputs   map[string]any `json:"outputs"` // value, type, sensitive, as in the state
}

func (c *cli) outputsCommand() *cobra.Command {
	var raw, sensitive bool
	cmd := &cobra.Command{
		Use:   "outputs [NAME]",
		Short: "Print the outputs of the state",
		Long: `Print the outputs of the root module, or the one that is called NAME, as the
state has them: no program is run, and no lock taken. Values are JSON; --raw
prints a string as it is, without a newline.

Sensitive values are hidden, and an error if asked for by NAME, unless
--show-sensitive is given.`,
		Example: example(
			"statelatch outputs --chdir ../network",
			`vpc=$(statelatch outputs vpc_id --raw --chdir ../network)`,
			"statelatch outputs --json --show-sensitive",
		),
		Args: arguments(0, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && (len(args) == 0 || c.json) {
				return usagef("--raw is for one output, and excludes --json")
			}
			return c.on(cmd.Context(), func(b backend.Backend, workspace string) error {
				state, err := b.Read(cmd.Context(), workspace)
				if err != nil {
					return err
				}
				found, err := chosen(state.Data, args, sensitive)
				if err != nil {
					return err
				}
				if raw {
					return printRaw(c.stdout, found[args[0]])
				}
				header := describe(workspace, state.Data, "")
				result := outputs{workspace, header.Serial, header.Lineage, shown(found, sensitive)}
				return c.print(result, func(w io.Writer) error {
					return printOutputs(w, found, len(args) == 1, sensitive)
				})
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "print the string itself")
	cmd.Flags().BoolVar(&sensitive, "show-sensitive", false, "show sensitive values too")
	return cmd
}

// chosen returns all outputs of a state, or the one that is named.
func chosen(data []byte, name []string, sensitive bool) (map[string]statefile.Output, error) {
	found, err := statefile.Outputs(data)
	if err != nil {
		return nil, err
	}
	if len(name) == 1 {
		output, ok := found[name[0]]
		switch {
		case !ok:
			return nil, &missingError{fmt.Errorf("the state has no output %q", name[0])}
		case output.Sensitive && !sensitive:
			return nil, hinted(&usageError{fmt.Errorf("output %q is sensitive", name[0])}, "--show-sensitive shows it.")
		}
		found = map[string]statefile.Output{name[0]: output}
	}
	return found, nil
}

// shown are outputs as JSON has them; they hide what is sensitive by themselves.
func shown(found map[string]statefile.Output, sensitive bool) map[string]any {
	type plain statefile.Output // hides nothing
	all := map[string]any{}
	for name, output := range found {
		all[name] = output
		if sensitive {
			all[name] = plain(output)
		}
	}
	return all
}

func printOutputs(w io.Writer, found map[string]statefile.Output, valueOnly, sensitive bool) error {
	for _, name := range slices.Sorted(maps.Keys(found)) {
		line := compact(found[name].String())
		if sensitive {
			line = compact(string(found[name].Value))
		}
		if !valueOnly {
			line = fit(w, printable(name+" = "+line))
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// compact puts JSON on one line, without what is not to be printed.
func compact(value string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(value)) != nil {
		return printable(value)
	}
	return printable(b.String())
}

func printRaw(w io.Writer, output statefile.Output) error {
	var s string
	if json.Unmarshal(output.Value, &s) != nil {
		var other any
		if json.Unmarshal(output.Value, &other) != nil {
			return errors.New("the output has no value")
		}
		switch other.(type) {
		case bool, float64:
			s = string(output.Value)
		default:
			return errors.New("--raw prints strings, numbers and booleans; this output is none of them")
		}
	}
	_, err := io.WriteString(w, s)
	return err
}
