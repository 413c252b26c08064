package tfconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
)

// A record is what init left in the data directory: the backend with the values of
// the block and of -backend-config, before defaults and variables of the services.
type record struct {
	typ    string // "state_store" for one of those
	config map[string]any
	hash   uint64 // of the block alone; 0 if there is none
	origin Origin
}

// recorded returns the record, nil if there is none.
func (l *loader) recorded() (*record, error) {
	path := filepath.Join(l.dataDir, "terraform.tfstate")
	data, err := l.read(path, FromRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseRecord(data, l.in(path, FromRecord))
}

// parseRecord reads every layout: the one of a version 3 state, with its serial,
// lineage and modules; and the later ones, which are only the backend.
func parseRecord(data []byte, at Origin) (*record, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var doc struct {
		Version json.Number `json:"version"`
		Backend *struct {
			Type   string         `json:"type"`
			Config map[string]any `json:"config"`
			Hash   json.Number    `json:"hash"`
		} `json:"backend"`
		StateStore *struct {
			Type string `json:"type"`
		} `json:"state_store"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err := d.Decode(&doc)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errMore
		}
	}
	const remedy = "it is not what init records; move it away and run init"
	switch {
	case err != nil:
		return nil, broken(data, at, err, remedy)
	case doc.Version != "3":
		return nil, invalid(at, "its version is %s, not 3: %s", number(doc.Version), remedy)
	case doc.StateStore != nil && doc.StateStore.Type != "":
		return &record{typ: "state_store", origin: at}, nil
	case doc.Backend == nil || doc.Backend.Type == "":
		return nil, nil
	}
	hash, _ := strconv.ParseUint(string(doc.Backend.Hash), 10, 64)
	return &record{doc.Backend.Type, doc.Backend.Config, hash, at}, nil
}

var errMore = errors.New("more than one document")

func number(n json.Number) string {
	if n == "" {
		return "missing"
	}
	return string(n)
}

// broken says where the JSON is broken, without its own text, which may be repeated
// by the decoder's error.
func broken(data []byte, at Origin, err error, remedy string) error {
	offset := int64(len(data))
	what := "it is broken off"
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset, what = e.Offset, "it is not JSON here"
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset, what = e.Offset, cmp.Or(e.Field, "the document")+" is of the wrong type"
	}
	if errors.Is(err, errMore) {
		what = "something follows the JSON document"
	}
	before := data[:min(max(offset, 0), int64(len(data)))]
	at.Line = 1 + bytes.Count(before, []byte("\n"))
	at.Column = max(1, len(before)-(bytes.LastIndexByte(before, '\n')+1))
	return invalid(at, "%s: %s", what, remedy)
}

// settings returns what is recorded, without what is null.
func (r *record) settings() map[string]setting {
	settings := map[string]setting{}
	for name, value := range r.config {
		if value := recordedValue(value); value != nil {
			settings[name] = setting{value: value, origin: r.origin}
		}
	}
	return settings
}

// recordedValue returns a value in the form of plain.
func recordedValue(value any) any {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case []any:
		list := []any{}
		for _, item := range v {
			list = append(list, recordedValue(item))
		}
		return list
	case map[string]any:
		m := map[string]any{}
		for name, item := range v {
			if item := recordedValue(item); item != nil {
				m[name] = item
			}
		}
		return m
	}
	return value
}
