package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// The fuzz targets compare this package with encoding/json, which is what
// Terraform reads states with. encoding/json finds "serial" under "SERIAL" too,
// and takes the last of many: so it differs exactly on documents that are
// ambiguous, and those are refused.

// oracle is the header as encoding/json sees it.
type oracle struct {
	Version           uint64          `json:"version"`
	TerraformVersion  string          `json:"terraform_version"`
	Serial            uint64          `json:"serial"`
	Lineage           string          `json:"lineage"`
	EncryptionVersion string          `json:"encryption_version"`
	Outputs           json.RawMessage `json:"outputs"`
}

func (o oracle) header() Header {
	return Header{o.Version, o.TerraformVersion, o.Serial, o.Lineage, o.EncryptionVersion != ""}
}

// ask returns what ReadHeader has to return, and whether it has to accept.
func ask(data []byte) (Header, bool) {
	var o oracle
	if err := json.Unmarshal(data, &o); err != nil || ambiguous(data) {
		return Header{}, false
	}
	return o.header(), o.Version == 4 || o.EncryptionVersion != ""
}

// ambiguous reports whether valid JSON has a field twice, or in another case.
func ambiguous(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return false
		}
		for _, name := range fieldNames {
			if bytes.EqualFold([]byte(key.(string)), name) {
				if key != string(name) || seen[string(name)] {
					return true
				}
				seen[string(name)] = true
			}
		}
		if d.Decode(new(json.RawMessage)) != nil {
			return false
		}
	}
	return false
}

func FuzzReadHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ReadHeader(data)
		want, accept := ask(data)
		if accept != (err == nil) {
			t.Fatalf("error %v, encoding/json finds %+v, %t", err, want, accept)
		}
		if err == nil && got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if err != nil {
			checkError(t, data, err)
		}
	})
}

// checkError checks that an error is one of those that are documented.
func checkError(t *testing.T, data []byte, err error) {
	t.Helper()
	if e, ok := errors.AsType[*SyntaxError](err); ok {
		if e.Offset < 0 || e.Offset > int64(len(data)) || !utf8.ValidString(e.Msg) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
		return
	}
	e, ok := errors.AsType[*VersionError](err)
	if !(ok && e.Version != 4) && !(errors.Is(err, ErrEmpty) && len(data) == 0) {
		t.Errorf("undocumented error %v", err)
	}
}

func FuzzOutputs(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		type plain Output
		var want map[string]plain
		h, accept := ask(data)
		var o oracle
		if accept && json.Unmarshal(data, &o) == nil && o.Outputs != nil {
			accept = json.Unmarshal(o.Outputs, &want) == nil
		}
		got, err := Outputs(data)
		switch {
		case h.Encrypted:
			if !errors.Is(err, ErrEncrypted) {
				t.Fatalf("error %v, want ErrEncrypted", err)
			}
			return
		case accept != (err == nil):
			t.Fatalf("error %v, encoding/json finds %t", err, accept)
		case err != nil:
			checkError(t, data, err)
			return
		case len(got) != len(want):
			t.Fatalf("%d outputs, want %d", len(got), len(want))
		}
		for name, o := range got {
			if diff := cmp.Diff(want[name], plain(o)); diff != "" {
				t.Error(diff)
			}
			if o.Sensitive && o.String() != redacted {
				t.Errorf("%s shows", name)
			}
			if b, err := json.Marshal(o); err != nil {
				t.Errorf("%s, %v", b, err)
			}
		}
	})
}

func FuzzCheckPush(f *testing.F) {
	f.Fuzz(func(t *testing.T, next, current []byte) {
		err := CheckPush(next, current)
		if want := mayPush(next, current); want != (err == nil) {
			t.Fatalf("error %v, want %t", err, want)
		}
	})
}

// mayPush is CheckPush, by way of encoding/json alone.
func mayPush(next, current []byte) bool {
	n, ok := ask(next)
	if len(current) == 0 || !ok {
		return ok
	}
	c, ok := ask(current)
	if !ok {
		return false
	}
	was, is := members(current), members(next)
	if n.Encrypted || c.Encrypted {
		if c.Encrypted || !isBlank(was) {
			return n.Lineage == c.Lineage && (n.Serial > c.Serial || bytes.Equal(next, current))
		}
		return true
	}
	if isBlank(was) || n.Lineage == "" || c.Lineage == "" {
		return true
	}
	if n.Lineage != c.Lineage || n.Serial != c.Serial {
		return n.Lineage == c.Lineage && n.Serial > c.Serial
	}
	return bytes.Equal(canonical(is), canonical(was))
}

func isBlank(state map[string]any) bool {
	o, isObject := state["outputs"].(map[string]any)
	r, isArray := state["resources"].([]any)
	return (state["outputs"] == nil || isObject && len(o) == 0) && (state["resources"] == nil || isArray && len(r) == 0)
}

func members(data []byte) (state map[string]any) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	_ = d.Decode(&state)
	return state
}

func canonical(state map[string]any) []byte {
	maps.DeleteFunc(state, func(key string, value any) bool {
		switch key {
		case "version", "terraform_version", "serial", "lineage":
			return true
		}
		return value == nil
	})
	b, _ := json.Marshal(state)
	return b
}

func FuzzSetSerial(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte, to uint64) {
		was := bytes.Clone(data)
		h, ok := ask(data)
		got, err := SetSerial(data, to)
		if !bytes.Equal(data, was) {
			t.Fatal("the document that was passed has changed")
		}
		_, hasSerial := members(data)["serial"]
		if accept := ok && !h.Encrypted && hasSerial; accept != (err == nil) {
			t.Fatalf("error %v, want %t", err, accept)
		}
		if err != nil {
			return
		}
		want := members(data)
		want["serial"] = json.Number(strconv.FormatUint(to, 10))
		if diff := cmp.Diff(want, members(got)); diff != "" {
			t.Error(diff)
		}
	})
}
