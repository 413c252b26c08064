package tftest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/statelatch/statelatch/statefile"
)

// A Config is a configuration whose resources are all built in, so that nothing
// is downloaded.
type Config struct {
	Backend string // the backend block: backend "local" {…}
	Count   int    // how many resources
	Word    string // what each of them remembers
	Gate    string // a file: the creation of each resource takes until it exists; "" = no gate
}

// String returns the text of the configuration.
func (c Config) String() string {
	gate := ""
	if c.Gate != "" {
		// The other conditions end it when the program has been killed (whoever is orphaned
		// before it begins has a parent that never ends), and at the latest with the test.
		wait := fmt.Sprintf("while [ ! -e '%s' ] && [ -d '%s' ] && kill -0 $PPID; do sleep 0.05; done", c.Gate, filepath.Dir(c.Gate))
		gate = fmt.Sprintf("  provisioner \"local-exec\" {\n    command = %q\n  }\n", wait)
	}
	return fmt.Sprintf(`terraform {
  %s
}

resource "terraform_data" "word" {
  count = %d
  input = %q
%s}
`, c.Backend, c.Count, c.Word, gate)
}

// Open opens a gate: it makes the file.
func Open(t testing.TB, gate string) {
	t.Helper()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Words returns what each resource in a state remembers.
func Words(data []byte) ([]string, error) {
	var state struct {
		Resources []struct {
			Instances []struct {
				Attributes struct {
					Input struct{ Value string }
				}
			}
		}
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return nil, fmt.Errorf("%w in the state: %s", err, data)
	}
	var words []string
	for _, resource := range state.Resources {
		for _, instance := range resource.Instances {
			words = append(words, instance.Attributes.Input.Value)
		}
	}
	return words, nil
}

// Reword returns the next version of a state, its serial higher by one, in which
// each resource remembers the word to where it remembered from.
func Reword(data []byte, from, to string) ([]byte, error) {
	data, err := statefile.Bump(data)
	return bytes.ReplaceAll(data, fmt.Appendf(nil, "%q", from), fmt.Appendf(nil, "%q", to)), err
}
