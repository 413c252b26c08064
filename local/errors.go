package local

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

var (
	errBusy      = errors.New("somebody else has locked the file")
	errUnsettled = errors.New("somebody is writing the file")
)

// fail completes err, of one call, as package backend wants it.
func (b *Backend) fail(op, workspace string, err error) error {
	if err == nil {
		return nil
	}
	if held, ok := errors.AsType[*lock.HeldError](err); ok {
		return held
	}
	e, ok := errors.AsType[*backend.Error](err)
	if !ok {
		e = translate(err)
	}
	e.Op, e.Backend, e.Workspace = op, "local "+b.workspaceDir, workspace
	if workspace == backend.DefaultWorkspace {
		e.Backend = "local " + b.path
	}
	return e
}

// translate gives err the kind that it is of.
func translate(err error) *backend.Error {
	for _, kind := range []error{
		backend.ErrNotExist, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge,
		backend.ErrInvalidName, lock.ErrNotHeld,
	} {
		if errors.Is(err, kind) {
			return &backend.Error{Kind: err}
		}
	}
	e := &backend.Error{Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Kind = backend.ErrPermission
	case errors.Is(err, syscall.EFBIG):
		e.Kind = backend.ErrTooLarge
	case errLockedRange != nil && errors.Is(err, errLockedRange):
		e.Kind = backend.ErrTransient
	case errors.Is(err, fs.ErrNotExist):
		e.Err = errors.New(err.Error()) // a missing directory must not read as "no state yet"
	}
	return e
}
