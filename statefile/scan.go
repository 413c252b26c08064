package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
)

// A field is a key at the top level of a state that this package reads.
type field int

const (
	version field = iota
	terraformVersion
	serial
	lineage
	outputs
	resources
	encryptionVersion
)

var fieldNames = [...][]byte{
	version:           []byte("version"),
	terraformVersion:  []byte("terraform_version"),
	serial:            []byte("serial"),
	lineage:           []byte("lineage"),
	outputs:           []byte("outputs"),
	resources:         []byte("resources"),
	encryptionVersion: []byte("encryption_version"),
}

func (f field) String() string { return string(fieldNames[f]) }

// A span is a part of a document. The zero span is an absent field: no value
// starts where the document does.
type span struct{ start, end int }

// A document is a state, and where in it the values of the fields are.
type document struct {
	data   []byte
	values [len(fieldNames)]span
}

// scan validates a document and finds the fields.
//
// json.Unmarshal into a struct of them would not build a tree either. But it
// does not tell where they are, which an edit needs, nor of keys that are there
// twice; and it is slower.
func scan(data []byte) (*document, error) {
	if err := validate(data); err != nil {
		return nil, err
	}
	d := &document{data: data}
	i := skipSpace(data, 0)
	if data[i] != '{' {
		return nil, &SyntaxError{int64(i), "a state is a JSON object"}
	}
	for i = skipSpace(data, i+1); data[i] != '}'; {
		key := span{i, skipValue(data, i)}
		colon := skipSpace(data, key.end)
		i = skipSpace(data, colon+1)
		value := span{i, skipValue(data, i)}
		if err := d.set(key, value); err != nil {
			return nil, err
		}
		if i = skipSpace(data, value.end); data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
	return d, nil
}

// validate says what keeps data from being JSON.
func validate(data []byte) error {
	switch {
	case len(data) == 0:
		return ErrEmpty
	case json.Valid(data):
		return nil
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return &SyntaxError{0, "it starts with a UTF-8 byte order mark: remove these three bytes"}
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return &SyntaxError{0, "it is compressed with gzip: decompress it first"}
	}
	e := &SyntaxError{Msg: "not JSON"}
	if cause, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, new(struct{}))); ok {
		e.Offset, e.Msg = cause.Offset, cause.Error()
	}
	return e
}

// The skip functions return where what starts at i ends. They rely on data
// being valid, hence on brackets that match and strings that end.

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return i
}

func skipValue(data []byte, i int) int {
	switch data[i] {
	case '"':
		return skipString(data, i)
	case '{', '[':
		return skipBrackets(data, i)
	}
	return i + bytes.IndexAny(data[i:], ",} \n\r\t")
}

func skipBrackets(data []byte, i int) int {
	for depth := 0; ; i++ {
		switch data[i] {
		case '"':
			i = skipString(data, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

func skipString(data []byte, i int) int {
	for i++; data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// set notes where the value of a field is. It refuses a key that some readers
// would take for the field's and others not.
func (d *document) set(key, value span) error {
	name := unquote(d.data[key.start:key.end])
	for f, want := range fieldNames {
		switch {
		case !bytes.EqualFold(name, want):
			continue
		case !bytes.Equal(name, want):
			return &SyntaxError{int64(key.start), "a key that differs from " + field(f).String() + " by case alone"}
		case d.values[f] != span{}:
			return &SyntaxError{int64(key.start), "a second " + field(f).String() + ": remove one"}
		}
		d.values[f] = value
	}
	return nil
}

// unquote returns the text of a JSON string.
func unquote(raw []byte) []byte {
	if !bytes.ContainsRune(raw, '\\') {
		return raw[1 : len(raw)-1]
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return nil // not reached: it is valid
	}
	return []byte(s)
}

// raw returns the value of a field, nil if it is absent or null.
func (d *document) raw(f field) []byte {
	at := d.values[f]
	if at == (span{}) || d.data[at.start] == 'n' {
		return nil
	}
	return d.data[at.start:at.end]
}

// decode stores the value of a field in *to, if it has one. It must be a kind.
func (d *document) decode(f field, to any, kind string) error {
	raw := d.raw(f)
	if raw == nil || json.Unmarshal(raw, to) == nil {
		return nil
	}
	return &SyntaxError{int64(d.values[f].start), f.String() + " must be " + kind}
}
