// Package respawn runs a test binary again: as the child that a test kills, limits, or
// races with others. What the child is to be, the environment tells its TestMain.
package respawn

import (
	"context"
	"os"
	"os/exec"
)

// Quick is a setting of the environment for children. Without it the race detector has
// each sleep for a second before it exits, so that its other threads may report too.
const Quick = "GORACE=atexit_sleep_ms=0"

// Command returns the command that runs this binary again, until ctx ends. env is added
// to what is in the environment of this process.
func Command(ctx context.Context, args []string, env ...string) *exec.Cmd {
	self, err := os.Executable()
	cmd := exec.CommandContext(ctx, self, args...)
	if err != nil {
		cmd.Err = err
	}
	cmd.Env = append(append(os.Environ(), Quick), env...)
	return cmd
}
