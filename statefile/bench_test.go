package statefile

import (
	"encoding/json"
	"strings"
	"testing"
)

// largeState returns a state of at least size bytes, as Terraform writes one.
// Its header comes before its resources, or after them: then nothing is found
// without reading past them.
func largeState(size int, headerLast bool) []byte {
	const header = `"version": 4,
  "terraform_version": "1.11.4",
  "serial": 7,
  "lineage": "357577b6-7153-97c9-2a8e-8c3bf47ac99c",
  "outputs": {}`
	const resource = `
    {
      "mode": "managed",
      "type": "terraform_data",
      "name": "item",
      "provider": "provider[\"terraform.io/builtin/terraform\"]",
      "instances": [
        {
          "schema_version": 0,
          "attributes": {
            "id": "5b41f92e-af3b-947c-2186-bf70990b8d77",
            "serial": 12345,
            "input": {
              "value": "\u003cb\u003e some words, a backslash \\ and a quote \"",
              "type": "string"
            },
            "triggers_replace": null
          },
          "sensitive_attributes": []
        }
      ]
    }`
	resources := `"resources": [` + strings.Repeat(resource+",", size/len(resource)) + resource + "\n  ]"
	if headerLast {
		return []byte("{\n  " + resources + ",\n  " + header + "\n}\n")
	}
	return []byte("{\n  " + header + ",\n  " + resources + "\n}\n")
}

// BenchmarkHeader puts ReadHeader beside the two ways to do without it.
func BenchmarkHeader(b *testing.B) {
	ways := []struct {
		name string
		read func([]byte) error
	}{
		{"ReadHeader", func(data []byte) error { _, err := ReadHeader(data); return err }},
		{"json.Valid", func(data []byte) error {
			if !json.Valid(data) {
				return ErrEmpty
			}
			return nil
		}},
		{"json.Unmarshal", func(data []byte) error { return json.Unmarshal(data, new(oracle)) }},
		{"json.Unmarshal-tree", func(data []byte) error { return json.Unmarshal(data, new(any)) }},
	}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KB", 1 << 10}, {"1MB", 1 << 20}, {"100MB", 100 << 20}} {
		data := largeState(size.bytes, false)
		for _, way := range ways {
			b.Run(size.name+"/"+way.name, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if err := way.read(data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
