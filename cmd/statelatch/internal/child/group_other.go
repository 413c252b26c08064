//go:build !unix

package child

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Forwarded are the signals that a command is to get instead of this process, unless
// they are ignored. Windows tells the console's programs of Ctrl-C by itself.
func Forwarded() []os.Signal {
	return slices.DeleteFunc([]os.Signal{os.Interrupt}, signal.Ignored)
}

type terminal struct{}

func foreground(any) terminal { return terminal{} }

func attributes(terminal) *syscall.SysProcAttr { return nil }

// signalGroup ends the process, as there is nothing else that could be sent. What it
// started goes on.
func signalGroup(pid int, s os.Signal) {
	if s == os.Interrupt {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func stopped() (<-chan os.Signal, func()) { return nil, func() {} }

func (terminal) suspend(int) {}

func (terminal) restore() {}
