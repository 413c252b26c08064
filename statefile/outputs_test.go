package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGoldenOutputs(t *testing.T) {
	got, err := Outputs(golden(t, "opentofu-1.12.6-remote.json"))
	if err != nil {
		t.Fatal(err)
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	want := map[string]Output{
		"name":     {Value: raw(`"web"`), Type: raw(`"string"`), Deprecated: "use serial"},
		"password": {Value: raw(`"hunter2-canary"`), Type: raw(`"string"`), Sensitive: true},
		"serial":   {Value: raw(`12345678901234567890`), Type: raw(`"number"`)},
		"lineage": {Value: raw(`{"lineage":"nested","serial":1,"version":3}`),
			Type: raw(`["object",{"lineage":"string","serial":"number","version":"number"}]`)},
	}
	// Compared field by field: printed whole, a sensitive one would not show.
	type plain Output
	if diff := cmp.Diff(want, got, cmp.Transformer("plain", func(o Output) plain { return plain(o) })); diff != "" {
		t.Error(diff)
	}
}

func TestNoOutputs(t *testing.T) {
	for _, doc := range []string{`{"version":4}`, `{"version":4,"outputs":null}`, `{"version":4,"outputs":{ }}`} {
		got, err := Outputs([]byte(doc))
		if err != nil || got == nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", doc, got, err)
		}
	}
}

func TestOutputsKeepNothing(t *testing.T) {
	data := []byte(`{"version":4,"outputs":{"a":{"value":"x","type":"string"}}}`)
	got, err := Outputs(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if a := got["a"]; string(a.Value) != `"x"` || string(a.Type) != `"string"` {
		t.Errorf("the outputs changed with the document: %s %s", a.Value, a.Type)
	}
}

func TestOutputsErrors(t *testing.T) {
	tests := []struct {
		doc    string
		offset int64
		msg    string
	}{
		{`{"version":4,"outputs":[1]}`, 24, "not an object of objects"},
		{`{"version":4,"outputs":8125}`, 27, "not an object of objects"},
		{`{"version":4,"outputs":{"a":8125}}`, 32, "not an object of objects"},
		{`{"version":4,"outputs":{"a":{"value":1,"sensitive":8125}}}`, 55, "sensitive of an output must be a bool"},
		{`{"version":4,"outputs":{"a":{"deprecated":8125}}}`, 46, "deprecated of an output must be a string"},
	}
	for _, tt := range tests {
		_, err := Outputs([]byte(tt.doc))
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok || e.Offset != tt.offset || !strings.Contains(e.Msg, tt.msg) {
			t.Errorf("%s: %v, want %q at %d", tt.doc, err, tt.msg, tt.offset)
		}
		if strings.Contains(fmt.Sprint(err), "8125") {
			t.Errorf("%q quotes the document", err)
		}
	}
	if _, err := Outputs([]byte(`{"version":3,"modules":[]}`)); err == nil {
		t.Error("no error for version 3")
	}
	if _, err := Outputs(nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("error %v, want ErrEmpty", err)
	}
}

// However an Output is printed, alone or inside of something, a sensitive value
// does not show, in text, decimal or hexadecimal; another value does.
func TestOutputRedaction(t *testing.T) {
	for _, sensitive := range []bool{true, false} {
		o := Output{Value: json.RawMessage(`"` + canary + `"`), Sensitive: sensitive}
		var shown []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			shown = append(shown, fmt.Sprintf(verb, o), fmt.Sprintf(verb, &o))
			shown = append(shown, fmt.Sprintf(verb, map[string]Output{"a": o}), fmt.Sprintf(verb, struct{ O Output }{o}))
		}
		shown = append(shown, o.String(), logged(o), logged(map[string]Output{"a": o}))
		for _, s := range shown {
			if strings.Contains(s, canary) == sensitive || strings.Contains(s, "(sensitive)") != sensitive {
				t.Errorf("sensitive %t shows as %s", sensitive, s)
			}
		}
	}
}

func logged(v any) string {
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("output", "it", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("output", "it", v)
	return b.String()
}

// An output that is not sensitive is encoded as it was in the state.
func TestOutputJSON(t *testing.T) {
	const doc = `{"value":{"b":1.0,"a":[]},"type":["object",{}],"deprecated":"why"}`
	var o Output
	if err := json.Unmarshal([]byte(doc), &o); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(o)
	if err != nil || string(got) != doc {
		t.Errorf("%s, %v, want %s", got, err, doc)
	}
	o.Sensitive = true
	got, err = json.Marshal(o)
	const want = `{"value":"(sensitive)","type":["object",{}],"sensitive":true,"deprecated":"why"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if !strings.Contains(string(o.Value), "1.0") {
		t.Errorf("encoding changed the value to %s", o.Value)
	}
}
