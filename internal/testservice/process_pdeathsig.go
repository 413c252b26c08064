//go:build linux || freebsd

package testservice

import "syscall"

// attributes: a group of its own, and death with the test process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
