package statefile

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// NewLineage returns a random lineage, for a state that descends from no other.
func NewLineage() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// New returns an empty state with serial 1, byte for byte as Terraform writes
// one for a new workspace. terraformVersion is the version of the program that
// the state is to be from, such as "1.11.4": Terraform refuses to read one that
// is neither a version nor "".
func New(terraformVersion, lineage string) []byte {
	return fmt.Appendf(nil, `{
  "version": %d,
  "terraform_version": %s,
  "serial": 1,
  "lineage": %s,
  "outputs": {},
  "resources": [],
  "check_results": null
}
`, formatVersion, quote(terraformVersion), quote(lineage))
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string always has a JSON form
	return b
}

// SetSerial returns a copy of a state with another serial. All other bytes are
// as they were. The state must have a serial to replace, be it null.
//
// The error is [ErrEncrypted] for an encrypted state, whose serial is inside as
// well; otherwise one of those of [ReadHeader].
func SetSerial(data []byte, to uint64) ([]byte, error) {
	d, h, err := parse(data)
	if err != nil {
		return nil, err
	}
	return d.setSerial(h, to)
}

// Bump returns a copy of a state with a serial higher by one. It is for a tool
// that has changed the rest of the state, and is going to write it. It is
// SetSerial in all else; the highest serial there is cannot be bumped.
func Bump(data []byte) ([]byte, error) {
	d, h, err := parse(data)
	if err != nil {
		return nil, err
	}
	if h.Serial == math.MaxUint64 {
		return nil, errors.New("statefile: the serial is the highest there is, and cannot be raised")
	}
	return d.setSerial(h, h.Serial+1)
}

func (d *document) setSerial(h Header, to uint64) ([]byte, error) {
	at := d.values[serial]
	switch {
	case h.Encrypted:
		return nil, ErrEncrypted
	case at == span{}:
		return nil, errors.New("statefile: the state has no serial that could be replaced")
	}
	number := strconv.AppendUint(nil, to, 10)
	return slices.Concat(d.data[:at.start], number, d.data[at.end:]), nil
}
