//go:build unix && !linux && !freebsd

package testservice

import "syscall"

// attributes: a group of its own. No death of the parent ends it here.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
