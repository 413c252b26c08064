package statefile

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
)

// An empty state is byte for byte what Terraform leaves when all is destroyed.
func TestNew(t *testing.T) {
	const name = "terraform-1.11.4-empty.json"
	want := goldens[name]
	got, err := SetSerial(New(want.TerraformVersion, want.Lineage), want.Serial)
	if err != nil || string(got) != string(golden(t, name)) {
		t.Errorf("%s\n%v", got, err)
	}
	h, err := ReadHeader(New("", `<"\`+"\n"))
	if want := (Header{Version: 4, Serial: 1, Lineage: `<"\` + "\n"}); err != nil || h != want {
		t.Errorf("%+v, %v, want %+v", h, err, want)
	}
}

func TestNewLineage(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	a, b := NewLineage(), NewLineage()
	if !form.MatchString(a) || !form.MatchString(b) || a == b {
		t.Errorf("%q and %q", a, b)
	}
}

func TestBump(t *testing.T) {
	tests := []struct{ doc, want string }{
		{`{"version":4,"serial":0}`, `{"version":4,"serial":1}`},
		{`{"version":4,"serial":9,"lineage":"A"}`, `{"version":4,"serial":10,"lineage":"A"}`},
		{` { "x":{"serial":9}, "s\u0065rial" : 9` + "\n" + `,"version":4 } ` + "\n", ` { "x":{"serial":9}, "s\u0065rial" : 10` + "\n" + `,"version":4 } ` + "\n"},
		{`{"version":4,"serial":null}`, `{"version":4,"serial":1}`},
		{`{"version":4,"serial":18446744073709551614}`, `{"version":4,"serial":18446744073709551615}`},
	}
	for _, tt := range tests {
		data := []byte(tt.doc)
		got, err := Bump(data)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s, %v, want %s", got, err, tt.want)
		}
		if string(data) != tt.doc {
			t.Errorf("the document that was passed became %s", data)
		}
	}
}

func TestSetSerial(t *testing.T) {
	for name, want := range goldens {
		if want.Encrypted {
			continue
		}
		data := golden(t, name)
		higher, err := SetSerial(data, math.MaxUint64)
		if err != nil {
			t.Fatal(err)
		}
		want.Serial = math.MaxUint64
		if h, err := ReadHeader(higher); err != nil || h != want {
			t.Errorf("%s: %+v, %v, want %+v", name, h, err, want)
		}
		back, err := SetSerial(higher, goldens[name].Serial)
		if err != nil || string(back) != string(data) {
			t.Errorf("%s: another byte than the serial's changed: %v", name, err)
		}
	}
}

func TestEditErrors(t *testing.T) {
	bump := func(data []byte) error { _, err := Bump(data); return err }
	set := func(data []byte) error { _, err := SetSerial(data, 1); return err }
	tests := []struct {
		edit func([]byte) error
		doc  string
		says string
	}{
		{bump, `{"version":4,"serial":18446744073709551615}`, "the highest there is"},
		{bump, `{"version":4}`, "no serial"},
		{set, `{"version":4}`, "no serial"},
		{bump, `{"version":3,"serial":1}`, "too old"},
		{set, `{"version":4,"serial":-1}`, "at byte 22: serial must be"},
	}
	for _, tt := range tests {
		if err := tt.edit([]byte(tt.doc)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.doc, err, tt.says)
		}
	}
	if err := bump(nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("error %v, want ErrEmpty", err)
	}
}
