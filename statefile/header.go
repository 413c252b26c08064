// Package statefile reads and changes the few parts of a Terraform or OpenTofu
// state that whoever keeps states has to know: which state it is (lineage),
// which version of it (serial), and its outputs. To a backend all the rest is
// opaque, and here it is: nothing in this package knows resources or providers.
//
// A [Header] is found by scanning. The scan builds no tree and copies nothing
// but the header's own strings, so a state of 100 MB needs no more memory than
// one of 1 KB. [Outputs] is the same scan, and then decodes the outputs alone.
// [CheckPush] says whether one state may replace another, by Terraform's rules.
// [New], [SetSerial] and [Bump] make states without formatting them anew.
//
// # What is accepted
//
// States of format version 4, which Terraform 0.12 and later and every OpenTofu
// write, indented or compact; and the envelope in which OpenTofu encrypts one.
// The whole document is validated: what is accepted is valid in the sense of
// [json.Valid], nesting of at most 10,000 included, in one JSON object, with
// nothing but white space around it. Beyond that only the header is looked at,
// so a document with a good header and senseless resources is accepted.
//
// Absent and null mean the same, as they do to Terraform: zero, "", no outputs.
// The keys are exactly those that Terraform writes. encoding/json, hence
// Terraform, also takes "Serial" for "serial", and of a repeated key the last.
// Nobody writes such a state, and other readers see other values in it. It is
// therefore refused if it concerns a key that this package reads at the top
// level; elsewhere it is left alone.
//
// # Errors
//
// A document that is not a state is a *[SyntaxError], one of another format
// version a *[VersionError], zero bytes are [ErrEmpty]. As a state may be secret,
// an error shows of it the header at most, and the character that is no JSON.
package statefile

import "cmp"

// formatVersion is the one version of the state format that this package reads.
const formatVersion = 4

// A Header says which state a document is, and which version of that state.
type Header struct {
	// Version is the format version, 4. An encrypted state shows none: 0.
	Version uint64

	// TerraformVersion is the version of the program that wrote the state,
	// Terraform or OpenTofu. An encrypted state shows none: "".
	TerraformVersion string

	// Serial counts the versions of one state; the later has the higher.
	Serial uint64

	// Lineage is the same in all versions of one state, and different in
	// unrelated states. Very old states have none.
	Lineage string

	// Encrypted says that the document is an envelope in which OpenTofu has
	// encrypted a state. Serial and Lineage are then the copies that it keeps
	// outside, which nothing protects: OpenTofu compares them with the originals
	// once it has decrypted those, this package can not.
	Encrypted bool
}

// ReadHeader returns the header of a state. It reads the whole of data, as a
// state cut short must not pass, and keeps nothing of it.
//
// With a *[VersionError] comes what could be read of the header; with any other
// error the Header is not to be used.
func ReadHeader(data []byte) (Header, error) {
	_, h, err := parse(data)
	return h, err
}

// parse scans a state and reads its header.
func parse(data []byte) (*document, Header, error) {
	d, err := scan(data)
	if err != nil {
		return nil, Header{}, err
	}
	h, err := d.header()
	return d, h, err
}

func (d *document) header() (Header, error) {
	const wholeNumber = "a whole number from 0 to 18446744073709551615"
	var h Header
	// Another format may give the other fields another type, so it comes first.
	var marker string
	format := cmp.Or(
		d.decode(encryptionVersion, &marker, "a string"),
		d.decode(version, &h.Version, wholeNumber),
		d.decode(terraformVersion, &h.TerraformVersion, "a string"))
	identity := cmp.Or(
		d.decode(serial, &h.Serial, wholeNumber),
		d.decode(lineage, &h.Lineage, "a string"))

	h.Encrypted = marker != ""
	switch {
	case format != nil:
		return h, format
	case h.Version != formatVersion && !h.Encrypted:
		return h, &VersionError{Version: h.Version, TerraformVersion: h.TerraformVersion}
	}
	return h, identity
}
