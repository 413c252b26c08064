package statefile_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/statelatch/statelatch/statefile"
)

var stored = []byte(`{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": 7,
  "lineage": "357577b6-7153-97c9-2a8e-8c3bf47ac99c",
  "outputs": {
    "endpoint": {"value": "db.example.org:5432", "type": "string"},
    "password": {"value": "correct horse", "type": "string", "sensitive": true}
  },
  "resources": [],
  "check_results": null
}
`)

func ExampleReadHeader() {
	h, err := statefile.ReadHeader(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("serial", h.Serial, "of", h.Lineage)

	_, err = statefile.ReadHeader(stored[:150])
	fmt.Println(err)
	// Output:
	// serial 7 of 357577b6-7153-97c9-2a8e-8c3bf47ac99c
	// statefile: not a state: at byte 150: unexpected end of JSON input
}

func ExampleOutputs() {
	outputs, err := statefile.Outputs(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		fmt.Println(name, "=", outputs[name])
	}
	fmt.Printf("on purpose: %s\n", outputs["password"].Value)
	// Output:
	// endpoint = "db.example.org:5432"
	// password = (sensitive)
	// on purpose: "correct horse"
}

func ExampleCheckPush() {
	older, _ := statefile.SetSerial(stored, 3)
	err := statefile.CheckPush(older, stored)
	if stale, ok := errors.AsType[*statefile.SerialError](err); ok {
		fmt.Println("stored is", stale.Current, "and this is", stale.Next)
	}

	other := statefile.New("1.11.4", statefile.NewLineage())
	_, unrelated := errors.AsType[*statefile.LineageError](statefile.CheckPush(other, stored))
	fmt.Println("unrelated:", unrelated)
	// Output:
	// stored is 7 and this is 3
	// unrelated: true
}

func ExampleBump() {
	next, err := statefile.Bump(stored)
	if err != nil {
		fmt.Println(err)
		return
	}
	h, _ := statefile.ReadHeader(next)
	fmt.Println("serial", h.Serial, "may replace 7:", statefile.CheckPush(next, stored) == nil)
	// Output:
	// serial 8 may replace 7: true
}

func ExampleNew() {
	fmt.Printf("%s", statefile.New("1.11.4", "357577b6-7153-97c9-2a8e-8c3bf47ac99c"))
	// Output:
	// {
	//   "version": 4,
	//   "terraform_version": "1.11.4",
	//   "serial": 1,
	//   "lineage": "357577b6-7153-97c9-2a8e-8c3bf47ac99c",
	//   "outputs": {},
	//   "resources": [],
	//   "check_results": null
	// }
}
