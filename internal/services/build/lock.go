package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// lock waits until no other run holds path, and returns what gives it back.
func lock(ctx context.Context, w io.Writer, path string) (unlock func(), err error) {
	for told := false; ; told = true {
		unlock, err := tryLock(path)
		if unlock != nil || err != nil {
			return unlock, err
		}
		if !told {
			fmt.Fprintf(w, "waiting for another run, which holds %s\n", path)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
