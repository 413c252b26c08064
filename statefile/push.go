package statefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// CheckPush says whether the state next may replace the state current, by the
// rules of "terraform state push" without its -force:
//
//   - A current of zero bytes, or with neither outputs nor resources, may be
//     replaced by any state.
//   - If either has no lineage, it may be replaced: such states are from before
//     there were lineages.
//   - The lineages must be equal. If not: *[LineageError].
//   - The serial of next must be higher, or equal with equal contents. If not:
//     *[SerialError].
//
// Equal contents are all top-level members but version, terraform_version,
// serial and lineage, compared as JSON: white space, escapes and the order of
// keys make no difference, the order of an array does, and so does the spelling
// of a number. A top-level null is as good as nothing. (Terraform, which knows
// the schema, sorts resources and takes 1.0 and 1 in an output for equal; but it
// compares the attributes of a resource as text, order included.) The comparison
// has one resource of each state in memory at a time.
//
// OpenTofu's encrypted envelopes are compared by the serial and the lineage
// outside, with each other and with plain states. What is in them is unknown, so
// no exception is made for them: the current one is never taken for empty, no
// lineage is unlike any lineage, and contents are equal only if all bytes are. A
// *[SerialError] for the last reason also matches [ErrEncrypted].
//
// If one of the two cannot be read, the error says which, and wraps one of those
// of [ReadHeader]. CheckPush protects from mixing up states, not from a writer
// in between: that is what the revision in a backend's Condition is for.
func CheckPush(next, current []byte) error {
	nd, n, err := parse(next)
	if err != nil {
		return fmt.Errorf("next state: %w", err)
	}
	if len(current) == 0 {
		return nil
	}
	cd, c, err := parse(current)
	if err != nil {
		return fmt.Errorf("current state: %w", err)
	}
	encrypted := n.Encrypted || c.Encrypted
	switch {
	case !c.Encrypted && cd.empty():
		return nil
	case !encrypted && (n.Lineage == "" || c.Lineage == ""):
		return nil
	case n.Lineage != c.Lineage:
		return &LineageError{Next: n.Lineage, Current: c.Lineage}
	case n.Serial > c.Serial, bytes.Equal(next, current):
		return nil
	}
	stale := &SerialError{Next: n.Serial, Current: c.Serial}
	switch {
	case n.Serial < c.Serial:
		return stale
	case encrypted:
		return fmt.Errorf("%w (%w)", stale, ErrEncrypted)
	case !sameContents(nd, cd):
		return stale
	}
	return nil
}

// empty reports whether a plain state has neither outputs nor resources.
func (d *document) empty() bool {
	return d.isEmpty(outputs, "{}") && d.isEmpty(resources, "[]")
}

// isEmpty reports whether the value of a field is absent, null, or these two
// brackets with nothing between them.
func (d *document) isEmpty(f field, brackets string) bool {
	raw := d.raw(f)
	return raw == nil || raw[0] == brackets[0] && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
}

// sameContents reports whether two plain states differ in their headers at most.
func sameContents(a, b *document) bool {
	return reflect.DeepEqual(a.rest(), b.rest()) && sameList(a.raw(resources), b.raw(resources))
}

// rest returns the tree of what a state has beside its header and resources.
func (d *document) rest() any {
	data := d.data
	if at := d.values[resources]; at != (span{}) {
		data = slices.Concat(data[:at.start], []byte("null"), data[at.end:])
	}
	members, _ := tree(data).(map[string]any)
	for _, f := range []field{version, terraformVersion, serial, lineage} {
		delete(members, f.String())
	}
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	return members
}

// sameList compares two lists element by element, so as to have no more than
// two elements in memory. What is not a list, but should be, it compares whole.
func sameList(a, b []byte) bool {
	if !bytes.HasPrefix(a, []byte("[")) || !bytes.HasPrefix(b, []byte("[")) {
		return reflect.DeepEqual(tree(a), tree(b))
	}
	x, y := newDecoder(a), newDecoder(b)
	_, _ = x.Token() // the bracket
	_, _ = y.Token()
	for x.More() && y.More() {
		var m, n any
		if x.Decode(&m) != nil || y.Decode(&n) != nil || !reflect.DeepEqual(m, n) {
			return false
		}
	}
	return x.More() == y.More()
}

// tree returns valid JSON decoded, and nil for nothing.
func tree(data []byte) (value any) {
	_ = newDecoder(data).Decode(&value)
	return value
}

func newDecoder(data []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // as float64, large numbers that differ would be equal
	return d
}
