package tfconfig

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// A grammar is what the programs, in all their versions, know in one place of a file.
type grammar struct {
	names []string // of blocks and settings
	leads []string // those of blocks that say where the state is, or have such a block in them
}

var (
	topLevel = grammar{
		names: []string{
			"terraform", "language", "provider", "required_providers", "variable", "locals", "output", "module",
			"resource", "data", "ephemeral", "action", "check", "import", "moved", "removed",
		},
		leads: []string{"terraform", "backend", "cloud", "state_store"},
	}
	inTerraform = grammar{
		names: []string{
			"backend", "cloud", "state_store", "required_providers", "provider_meta", "encryption",
			"required_version", "experiments", "language", "access_safety",
		},
		leads: []string{"backend", "cloud", "state_store"},
	}
)

// unknown returns the mistakes among the names in a body. A backend block that is not
// understood must not pass for none, which would mean local files. What looks like none
// may be of a version to come: it is noted, for the case that no backend is found.
func (m *module) unknown(g grammar, body hcl.Body, src []byte, at Origin) (errs []error) {
	_, diags := body.Content(&hcl.BodySchema{}) // which expects nothing, and so complains of each
	slices.SortFunc(diags, func(a, b *hcl.Diagnostic) int { return cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte) })
	for _, d := range diags {
		name := strings.Trim(string(d.Subject.SliceBytes(src)), `"`)
		setting := d.Summary == "Unsupported argument" // JSON does not tell them apart
		lead := g.lead(name)
		switch {
		case name == lead && setting:
			errs = append(errs, invalid(at.at(*d.Subject), "%q is written as a setting, and is a block: leave out the =", name))
		case slices.Contains(g.names, name):
		case name == lead:
			errs = append(errs, invalid(at.at(*d.Subject), "%q has no place here; write it within terraform { … }", name))
		case lead != "":
			errs = append(errs, invalid(at.at(*d.Subject), "there is no %q here; did you mean %q?", name, lead))
		case m.strange == nil:
			m.strange = invalid(at.at(*d.Subject), `neither Terraform nor OpenTofu knows %q here, and no file has a backend block, which it may be meant to be; correct it, or write backend "local" {} on a line of its own within terraform { … }`, name)
		}
	}
	return errs
}

// lead returns the lead that a name is, or resembles.
func (g grammar) lead(name string) string {
	for _, lead := range g.leads {
		if levenshtein.Distance(strings.ToLower(name), lead, nil) <= 2 {
			return lead
		}
	}
	return ""
}
