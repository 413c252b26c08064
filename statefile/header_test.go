package statefile

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// canary is in places that no error may quote.
const canary = "hunter2-canary"

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// goldens are documents that the programs they are named after have written,
// but for the worked example of an envelope.
var goldens = map[string]Header{
	"terraform-1.11.4.json":       {4, "1.11.4", 2, "3dd4325b-9ecc-5d93-bef8-753c2227ac8a", false},
	"terraform-1.11.4-empty.json": {4, "1.11.4", 4, "3dd4325b-9ecc-5d93-bef8-753c2227ac8a", false},
	"opentofu-1.12.6-local.json":  {4, "1.12.6", 1, "4655a691-44bc-f166-c71f-a16126a8491b", false},
	"opentofu-1.12.6-remote.json": {4, "1.12.6", 2, "fbb81d55-baff-26ba-5c24-8f3083f6de0f", false},

	"opentofu-1.12.6-encrypted.json":       {0, "", 2, "91b8773e-6376-d722-6e45-85c124fd7682", true},
	"opentofu-1.12.6-encrypted-local.json": {0, "", 1, "9eda0e7e-324c-f3f5-7235-71d1d80292b7", true},
	"envelope-vector.json":                 {0, "", 7, "357577b6-7153-97c9-2a8e-8c3bf47ac99c", true},
}

func TestGoldenHeaders(t *testing.T) {
	for name, want := range goldens {
		t.Run(name, func(t *testing.T) {
			got, err := ReadHeader(golden(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadHeader(t *testing.T) {
	full := Header{Version: 4, TerraformVersion: "1.11.4", Serial: 7, Lineage: "A"}
	tests := map[string]struct {
		doc  string
		want Header
	}{
		"other order, after the resources": {
			`{"resources":[{"serial":1}],"lineage":"A","serial":7,"terraform_version":"1.11.4","version":4}`, full},
		"same names further down": {
			`{"outputs":{"serial":{"value":{"version":3,"lineage":"x","serial":9}}},"version":4,"terraform_version":"1.11.4",
			  "serial":7,"lineage":"A","resources":[[{"serial":8,"lineage":"B"}]],"check_results":{"serial":6}}`, full},
		"names in values": {
			`{"x":"\"serial\":9,","version":4,"terraform_version":"1.11.4","serial":7,"lineage":"A","y":"lineage"}`, full},
		"all white space": {
			" \t\r\n{ \n\"version\" : 4 , \"terraform_version\"\t:\r\"1.11.4\",\"serial\":7\n,\"lineage\" :\"A\" } \n\n", full},
		"escaped keys and values": {
			`{"\u0076ersion":4,"terraform\u005fversion":"1.11.\u0034","s\u0065rial":7,"lineage":"\u0041","\"\\":"\\\""}`, full},
		"null is absent": {
			`{"version":4,"serial":null,"lineage":null,"terraform_version":null,"outputs":null,"encryption_version":null}`, Header{Version: 4}},
		"version alone":          {`{"version":4}`, Header{Version: 4}},
		"highest serial":         {`{"version":4,"serial":18446744073709551615}`, Header{Version: 4, Serial: 1<<64 - 1}},
		"unknown and empty keys": {`{"version":4,"":{},"serials":[],"seri":1,"versionx":"","lineag":{}}`, Header{Version: 4}},
		"case matters not to other keys, nor below the top": {
			`{"version":4,"Check_Results":1,"check_results":2,"check_results":3,"x":{"Serial":1,"serial":2,"serial":3}}`, Header{Version: 4}},
		"no marker of encryption": {`{"version":4,"encryption_version":"","encrypted_data":"AA=="}`, Header{Version: 4}},
		"envelope of a later version": {
			`{"serial":3,"lineage":"A","encryption_version":"v1"}`, Header{Serial: 3, Lineage: "A", Encrypted: true}},
		"envelope of a plan": {`{"meta":{},"encryption_version":"v0"}`, Header{Encrypted: true}},
		"a second brace in a string at the end": {
			`{"version":4,"x":"}"}`, Header{Version: 4}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ReadHeader([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSyntaxError(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	tests := map[string]struct {
		doc    string
		offset int64
		msg    string
	}{
		"white space":        {" \n ", 3, "unexpected end"},
		"cut short":          {`{"version":4,"serial":`, 22, "unexpected end"},
		"cut in a string":    {`{"version":4,"x":"` + canary, 32, "unexpected end"},
		"not JSON":           {`serial = 4`, 1, "invalid character 's'"},
		"byte order mark":    {"\xef\xbb\xbf{\"version\":4}", 0, "byte order mark"},
		"gzip":               {"\x1f\x8b\x08\x00", 0, "gzip"},
		"an array":           {` [{"version":4}]`, 1, "object"},
		"null":               {`null`, 0, "object"},
		"a string":           {`"` + canary + `"`, 0, "object"},
		"two documents":      {`{"version":4}{}`, 14, "after top-level value"},
		"trailing comma":     {`{"version":4,}`, 14, "looking for beginning of object key"},
		"mismatched bracket": {`{"version":4,"x":[}`, 19, "looking for beginning of value"},
		"nested too deep":    {`{"version":4,"x":` + deep, 10_017, "max depth"},
		"version a string":   {`{"version":"4"}`, 11, "version must be a whole number"},
		"version a fraction": {`{"version":4.0}`, 11, "version must be a whole number"},
		"terraform_version":  {`{"version":4,"terraform_version":1.1}`, 33, "terraform_version must be a string"},
		"serial negative":    {`{"version":4,"serial":-1}`, 22, "serial must be a whole number"},
		"serial minus zero":  {`{"version":4,"serial":-0}`, 22, "serial must be a whole number"},
		"serial too high":    {`{"version":4,"serial":18446744073709551616}`, 22, "serial must be a whole number"},
		"serial enormous":    {`{"version":4,"serial":1` + strings.Repeat("0", 1000) + `}`, 22, "serial must be a whole number"},
		"serial exponent":    {`{"version":4,"serial":1e3}`, 22, "serial must be a whole number"},
		"serial a string":    {`{"version":4,"serial":"` + canary + `"}`, 22, "serial must be a whole number"},
		"serial an object":   {`{"version":4,"serial":{"` + canary + `":1}}`, 22, "serial must be a whole number"},
		"lineage a number":   {`{"version":4,"lineage": 7}`, 24, "lineage must be a string"},
		"lineage an array":   {`{"version":4,"lineage":["` + canary + `"]}`, 23, "lineage must be a string"},
		"marker a number":    {`{"version":4,"encryption_version":1}`, 34, "encryption_version must be a string"},
		"serial twice":       {`{"version":4,"serial":1,"serial":2}`, 24, "a second serial"},
		"the same in escapes": {
			`{"version":4,"serial":1,"s\u0065rial":2}`, 24, "a second serial"},
		"null and then a serial": {`{"version":4,"serial":null,"serial":2}`, 27, "a second serial"},
		"outputs twice":          {`{"version":4,"outputs":{},"outputs":{}}`, 26, "a second outputs"},
		"Serial":                 {`{"version":4,"Serial":1}`, 13, "by case alone"},
		"a long s":               {`{"version":4,"ſerial":1}`, 13, "by case alone"},
		"an escaped S":           {`{"version":4,"\u0053erial":1}`, 13, "by case alone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadHeader([]byte(tt.doc))
			e, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("error %v (%[1]T), want a *SyntaxError", err)
			}
			if e.Offset != tt.offset || !strings.Contains(e.Msg, tt.msg) {
				t.Errorf("error %q, want %q at %d", err, tt.msg, tt.offset)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("error %q quotes the document", err)
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	for _, data := range [][]byte{nil, {}} {
		if _, err := ReadHeader(data); !errors.Is(err, ErrEmpty) {
			t.Errorf("error %v, want ErrEmpty", err)
		}
	}
}

func TestVersionError(t *testing.T) {
	tests := []struct {
		doc  string
		want VersionError
		head Header
		says string
	}{
		{`{"version":3,"terraform_version":"0.11.14","serial":6,"lineage":"A","modules":[]}`,
			VersionError{3, "0.11.14"}, Header{Version: 3, TerraformVersion: "0.11.14", Serial: 6, Lineage: "A"}, "too old"},
		{`{"version":1,"serial":6}`, VersionError{1, ""}, Header{Version: 1, Serial: 6}, "too old"},
		{`{"version":5,"terraform_version":"9.0.0","serial":"six"}`,
			VersionError{5, "9.0.0"}, Header{Version: 5, TerraformVersion: "9.0.0"}, "only version 4"},
		{`{"terraform_version":"1.11.4"}`, VersionError{0, "1.11.4"}, Header{TerraformVersion: "1.11.4"}, "no format version"},
		{`{"version":null}`, VersionError{}, Header{}, "no format version"},
		{`{"version":0}`, VersionError{}, Header{}, "no format version"},
		{`{}`, VersionError{}, Header{}, "no format version"},
	}
	for _, tt := range tests {
		h, err := ReadHeader([]byte(tt.doc))
		e, ok := errors.AsType[*VersionError](err)
		if !ok || *e != tt.want || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want %+v that says %q", tt.doc, err, tt.want, tt.says)
		}
		if h != tt.head {
			t.Errorf("%s: header %+v, want %+v", tt.doc, h, tt.head)
		}
	}
}

// A download cut short anywhere must not pass for a state.
func TestEveryPrefixIsRefused(t *testing.T) {
	for name := range goldens {
		data := golden(t, name)
		end := strings.LastIndexByte(string(data), '}')
		for n := 1; n <= end; n++ {
			_, err := ReadHeader(data[:n])
			if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Offset != int64(n) {
				t.Fatalf("%s cut to %d of %d bytes: error %v", name, n, len(data), err)
			}
		}
	}
}

// encoding/json takes at most 10,000 levels; up to there the depth is free.
func TestDeepNesting(t *testing.T) {
	for _, levels := range []int{9_999, 10_000} {
		doc := []byte(`{"x":` + strings.Repeat(`{"serial":`, levels) + "9" + strings.Repeat("}", levels) + `,"version":4,"serial":7}`)
		h, err := ReadHeader(doc)
		if accepted := err == nil; accepted != json.Valid(doc) || accepted && h.Serial != 7 {
			t.Errorf("%d levels: %+v, %v", levels, h, err)
		}
	}
}

// Reading a header takes the same little memory for 100 MB as for 1 KB, even if
// the header comes last. The limits leave room for what the runtime itself does.
func TestHeaderMemory(t *testing.T) {
	const maxBytes, maxAllocs = 64 << 10, 100
	for _, size := range []int{1 << 10, 100 << 20} {
		data := largeState(size, true)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h, err := ReadHeader(data)
		runtime.ReadMemStats(&after)
		if err != nil || h.Serial != 7 {
			t.Fatal(h, err)
		}
		bytes, allocs := after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
		if bytes > maxBytes || allocs > maxAllocs {
			t.Errorf("%d bytes read: %d allocated at %d times, want at most %d at %d", len(data), bytes, allocs, maxBytes, maxAllocs)
		}
	}
}

func TestHeaderKeepsNothing(t *testing.T) {
	data := golden(t, "terraform-1.11.4.json")
	h, err := ReadHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if h != goldens["terraform-1.11.4.json"] {
		t.Errorf("the header changed with the document: %+v", h)
	}
}
