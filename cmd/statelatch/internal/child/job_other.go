//go:build unix && !linux

package child

import (
	"os"
	"syscall"
)

func dieWithParent(*syscall.SysProcAttr) {}

// stopped never tells: the package that os/exec waits with has no way to ask whether
// a child has been stopped, without taking its end away from os/exec.
func stopped() (<-chan os.Signal, func()) { return nil, func() {} }

func (t terminal) suspend(int) {}
