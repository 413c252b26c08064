// Quickstart shows two processes at work on one state, safely.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/statefile"
)

func main() {
	ctx := context.Background()
	if len(os.Args) > 1 { // the second process, which step 2 starts
		update(must(local.New(ctx, local.Config{Path: os.Args[1]})), "second run", func() {})
		return
	}
	path := filepath.Join(must(os.MkdirTemp("", "statelatch-")), "terraform.tfstate")
	b := must(local.New(ctx, local.Config{Path: path}))
	fmt.Println("1. A state is created, on condition that there is none yet:\n  ", path)
	old := must(b.Write(ctx, "default", statefile.New("1.11.4", statefile.NewLineage()), backend.Condition{}))

	fmt.Println("2. Update it: lock, read, edit, write, unlock. Two processes want to, at once:")
	second := exec.CommandContext(ctx, must(os.Executable()), path)
	second.Stderr = os.Stderr
	output := bufio.NewReader(must(second.StdoutPipe()))
	update(b, "first run", func() {
		must(0, second.Start())
		fmt.Print(must(output.ReadString('\n'))) // it says that it waits
	})
	must(output.WriteTo(os.Stdout))
	must(0, second.Wait())

	fmt.Println("3. A write that goes by the revision of step 1 would undo both updates:")
	_, err := b.Write(ctx, "default", []byte("{}"), backend.Condition{Revision: old})
	fmt.Println("   refused as ErrConflict:", errors.Is(err, backend.ErrConflict))

	fmt.Println("4. On disk, where Terraform has it:")
	for _, entry := range must(os.ReadDir(filepath.Dir(path))) {
		info := must(entry.Info())
		fmt.Printf("   %v %4d bytes  %s\n", info.Mode(), info.Size(), info.Name())
	}

	fmt.Println("5. A lock that a dead run left, here in memory, is broken by its ID:")
	m := memory.New()
	must(m.Lock(ctx, "default", lock.NewInfo("dead run")))
	holder := must(m.Client().Holder(ctx, "default"))
	must(0, m.Client().Unlock(ctx, "default", holder.ID))
	fmt.Printf("   unlocked what the %s held, ID %s\n", holder.Operation, holder.ID)
}

// update raises the serial of the state. While it has the lock, it calls meanwhile.
func update(b backend.Backend, who string, meanwhile func()) {
	opts := lock.Options{Timeout: time.Minute, OnWait: func(held *lock.HeldError) {
		fmt.Printf("   %s: waits for the %s of %s\n", who, held.Holder.Operation, held.Holder.Who)
	}}
	must(backend.Update(context.Background(), b, "default", lock.NewInfo(who), opts, func(_ context.Context, current backend.State) ([]byte, error) {
		fmt.Printf("   %s: has the lock, raises serial %d\n", who, must(statefile.ReadHeader(current.Data)).Serial)
		meanwhile()
		return statefile.Bump(current.Data)
	}))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
