// Inspect prints the workspace, lineage, serial, outputs and lock holder of any
// directory of Terraform or OpenTofu, whatever its backend. What follows the
// directory is what init takes as -backend-config:
//
//	go run ./examples/inspect [DIRECTORY [NAME=VALUE | FILE]...]
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"

	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
	"github.com/statelatch/statelatch/tfconfig"
)

func main() {
	args := append(os.Args[1:], ".")
	dir, options := args[0], args[1:max(1, len(args)-1)]
	b, workspace, err := tfconfig.Open(context.Background(), all.Mux(), dir, tfconfig.Options{BackendConfig: options})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	fmt.Println("workspace", workspace)
	if err := errors.Join(state(b, workspace), holder(b, workspace)); err != nil {
		log.Fatal(err)
	}
}

func state(b backend.Backend, workspace string) error {
	st, err := b.Read(context.Background(), workspace)
	if errors.Is(err, backend.ErrNotExist) {
		fmt.Println("no state yet")
		return nil
	}
	if err != nil {
		return err
	}
	header, err := statefile.ReadHeader(st.Data)
	if err != nil {
		return err
	}
	fmt.Printf("lineage %s\nserial %d\n", header.Lineage, header.Serial)
	outputs, err := statefile.Outputs(st.Data)
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		fmt.Printf("output %s = %s\n", name, outputs[name]) // a sensitive one does not show
	}
	return err
}

func holder(b backend.Backend, workspace string) error {
	locker, ok := backend.As[lock.Locker](b)
	if !ok {
		return nil
	}
	info, err := locker.Holder(context.Background(), workspace)
	switch {
	case errors.Is(err, lock.ErrNotHeld):
		fmt.Println("not locked")
	case errors.Is(err, errors.ErrUnsupported):
		fmt.Println("locks are not configured")
	case err == nil:
		fmt.Println("locked by", info)
		return nil
	default:
		return err
	}
	return nil
}
