package statefile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// doc makes a state with one output, unless more says otherwise.
func doc(serial, lineage string, contents ...string) string {
	if contents == nil {
		contents = []string{`"outputs":{"a":{"value":1,"type":"number"}},"resources":[]`}
	}
	return fmt.Sprintf(`{"version":4,"terraform_version":"1.11.4","serial":%s,"lineage":%q,%s}`,
		serial, lineage, strings.Join(contents, ","))
}

const resource = `{"mode":"managed","type":"terraform_data","name":%q,"provider":"provider[\"terraform.io/builtin/terraform\"]","instances":[%s]}`

// resourceList makes the resources of a state, without instances.
func resourceList(names ...string) string {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf(resource, name, ""))
	}
	return `"resources":[` + strings.Join(list, ",") + `]`
}

// instance makes the resources of a state: one, with these attributes.
func instance(attributes string) string {
	return `"resources":[` + fmt.Sprintf(resource, "x", `{"schema_version":0,"attributes":{`+attributes+`}}`) + `]`
}

// pushes are also given to the real Terraform, in terraform_test.go.
var pushes = []struct {
	name          string
	next, current string
	want          error  // nil, or of the type that is wanted
	terraform     string // why Terraform decides otherwise; "" if it does not
}{
	{"no current state", doc("1", "A"), "", nil, ""},
	{"higher serial", doc("6", "A"), doc("5", "A"), nil, ""},
	{"much higher serial", doc("18446744073709551614", "A"), doc("5", "A"), nil, ""},
	{"lower serial", doc("1", "A"), doc("5", "A"), &SerialError{1, 5}, ""},
	{"unrelated", doc("6", "B"), doc("5", "A"), &LineageError{"B", "A"}, ""},
	{"unrelated, same serial and contents", doc("5", "B"), doc("5", "A"), &LineageError{"B", "A"}, ""},
	{"no lineage in next", doc("1", ""), doc("5", "A"), nil, ""},
	{"no lineage in current", doc("1", "A"), doc("5", "", resourceList("x")), nil, ""},
	{"serial null is 0", doc("null", "A"), doc("5", "A"), &SerialError{0, 5}, ""},

	{"current is empty", doc("1", "A"), doc("9", "B", `"outputs":{ }`, `"resources":[ ]`), nil, ""},
	{"current has neither", doc("1", "A"), doc("9", "B", `"check_results":null`), nil, ""},
	{"current has check results alone", doc("1", "A"),
		doc("9", "B", `"check_results":[{"object_kind":"check","config_addr":"check.c","status":"pass","objects":[]}]`), nil, ""},
	{"current has a resource without instances", doc("1", "A"), doc("9", "B", resourceList("x")), &LineageError{"A", "B"}, ""},
	{"current has an output alone", doc("1", "A"), doc("9", "A", `"outputs":{"b":{"value":2,"type":"number"}}`), &SerialError{1, 9}, ""},
	{"next is empty", doc("5", "A", `"outputs":{}`), doc("5", "A"), &SerialError{5, 5}, ""},

	{"same", doc("5", "A"), doc("5", "A"), nil, ""},
	{"same but for the writer", strings.Replace(doc("5", "A"), "1.11.4", "1.9.0", 1), doc("5", "A"), nil, ""},
	{"same in another form",
		`{ "lineage":"A", "resources":[], "outputs":{"a":{"type":"n\u0075mber", "value":1}}, "check_results":null, "serial":5, "version":4 }`,
		doc("5", "A"), nil, ""},
	{"another value", doc("5", "A", `"outputs":{"a":{"value":2,"type":"number"}}`), doc("5", "A"), &SerialError{5, 5}, ""},
	{"a number beyond float64",
		doc("5", "A", `"outputs":{"a":{"value":12345678901234567890,"type":"number"}}`),
		doc("5", "A", `"outputs":{"a":{"value":12345678901234567891,"type":"number"}}`), &SerialError{5, 5}, ""},
	{"another spelling of a number", doc("5", "A", `"outputs":{"a":{"value":1.0,"type":"number"}}`, `"resources":[]`),
		doc("5", "A"), &SerialError{5, 5}, "it knows that 1.0 is 1"},
	{"another order of attributes", doc("5", "A", instance(`"id":"i","input":null`)),
		doc("5", "A", instance(`"input":null,"id":"i"`)), nil, "it compares attributes as text"},
	{"a null attribute less", doc("5", "A", instance(`"id":"i"`)),
		doc("5", "A", instance(`"id":"i","input":null`)), &SerialError{5, 5}, ""},

	{"a resource more", doc("5", "A", resourceList("x", "y")), doc("5", "A", resourceList("x")), &SerialError{5, 5}, ""},
	{"a resource less", doc("5", "A", resourceList("x")), doc("5", "A", resourceList("x", "y")), &SerialError{5, 5}, ""},
	{"another order of resources", doc("5", "A", resourceList("y", "x")), doc("5", "A", resourceList("x", "y")), &SerialError{5, 5}, "it sorts them"},

	{"next is zero bytes", "", doc("5", "A"), ErrEmpty, ""},
	{"next is zero bytes, and no current state", "", "", ErrEmpty, ""},
	{"next is no state", "{", doc("5", "A"), new(SyntaxError), ""},
	{"next is of a later version", `{"version":5}`, doc("5", "A"), new(VersionError), ""},
	{"current is no state", doc("5", "A"), "{", new(SyntaxError), ""},
	{"current has a serial twice", doc("6", "A"), strings.Replace(doc("5", "A"), "{", `{"serial":7,`, 1), new(SyntaxError), "it takes the last"},
	{"next has a SERIAL", strings.Replace(doc("5", "A"), "{", `{"SERIAL":3,`, 1), doc("5", "A"), new(SyntaxError), "it takes it for the serial, and the last"},
}

func TestCheckPush(t *testing.T) {
	for _, tt := range pushes {
		t.Run(tt.name, func(t *testing.T) {
			checkPush(t, CheckPush([]byte(tt.next), []byte(tt.current)), tt.want)
		})
	}
}

func checkPush(t *testing.T, got, want error) {
	t.Helper()
	ok := errors.Is(got, want)
	switch want := want.(type) {
	case *LineageError:
		e, is := errors.AsType[*LineageError](got)
		ok = is && *e == *want
	case *SerialError:
		e, is := errors.AsType[*SerialError](got)
		ok = is && *e == *want
	case *SyntaxError:
		_, ok = errors.AsType[*SyntaxError](got)
	case *VersionError:
		_, ok = errors.AsType[*VersionError](got)
	}
	if !ok {
		t.Errorf("error %v (%[1]T), want %v (%[2]T)", got, want)
	}
}

func envelope(serial, lineage, sealed string) string {
	return fmt.Sprintf(`{"serial":%s,"lineage":%q,"meta":{},"encrypted_data":%q,"encryption_version":"v0"}`, serial, lineage, sealed)
}

func TestCheckPushEncrypted(t *testing.T) {
	plan := `{"meta":{},"encrypted_data":"AAAA","encryption_version":"v0"}`
	tests := []struct {
		name          string
		next, current string
		want          error
	}{
		{"higher serial", envelope("6", "A", "AAAA"), envelope("5", "A", "AAAA"), nil},
		{"lower serial", envelope("4", "A", "AAAA"), envelope("5", "A", "AAAA"), &SerialError{4, 5}},
		{"unrelated", envelope("6", "B", "AAAA"), envelope("5", "A", "AAAA"), &LineageError{"B", "A"}},
		{"same", envelope("5", "A", "AAAA"), envelope("5", "A", "AAAA"), nil},
		{"same serial, other bytes", envelope("5", "A", "BBBB"), envelope("5", "A", "AAAA"), &SerialError{5, 5}},
		{"plain to encrypted", envelope("6", "A", "AAAA"), doc("5", "A"), nil},
		{"plain to encrypted at the same serial", envelope("5", "A", "AAAA"), doc("5", "A"), &SerialError{5, 5}},
		{"encrypted to plain", doc("6", "A"), envelope("5", "A", "AAAA"), nil},
		{"encrypted to plain, unrelated", doc("6", "B"), envelope("5", "A", "AAAA"), &LineageError{"B", "A"}},
		{"encrypted over an empty state", envelope("1", "A", "AAAA"), doc("9", "B", `"outputs":{}`), nil},
		{"no lineage outside", envelope("6", "", "AAAA"), doc("5", "A"), &LineageError{"", "A"}},
		{"a plan over a state", plan, envelope("5", "A", "AAAA"), &LineageError{"", "A"}},
		{"a state over a plan", doc("6", "A"), plan, &LineageError{"A", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkPush(t, CheckPush([]byte(tt.next), []byte(tt.current)), tt.want)
		})
	}
	err := CheckPush([]byte(envelope("5", "A", "BBBB")), []byte(envelope("5", "A", "AAAA")))
	if !errors.Is(err, ErrEncrypted) {
		t.Errorf("error %v does not match ErrEncrypted", err)
	}
}

// The messages have both values, and say what to do.
func TestPushMessages(t *testing.T) {
	tests := []struct {
		err  error
		says []string
	}{
		{&LineageError{"B", "A"}, []string{`"A"`, `"B"`, "workspace"}},
		{&LineageError{"B\n", "A\x1b"}, []string{`"B\n"`, `"A\x1b"`}},
		{&SerialError{5, 5}, []string{"same serial 5", "raise the serial"}},
		{&SerialError{3, 5}, []string{"serial 3", ", 5:", "raise the serial above"}},
		{CheckPush([]byte("{"), nil), []string{"next state: "}},
		{CheckPush([]byte(doc("1", "A")), []byte("{")), []string{"current state: "}},
	}
	for _, tt := range tests {
		for _, s := range tt.says {
			if !strings.Contains(tt.err.Error(), s) {
				t.Errorf("%q does not say %q", tt.err, s)
			}
		}
	}
}
