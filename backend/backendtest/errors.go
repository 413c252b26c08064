package backendtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// kinds are the kinds of failure of package backend.
var kinds = []error{
	backend.ErrNotExist, backend.ErrNoStore, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrCorrupt,
	backend.ErrInvalidName, backend.ErrPermission, backend.ErrTransient, backend.ErrUnknown, lock.ErrNotHeld,
}

var errorShapes = table{
	{
		Name:     "error shape",
		Sentence: "An error is (or holds) a *backend.Error that names the call, the backend and the workspace, of one kind that errors.Is finds; none matches fs.ErrNotExist.",
		Check: func(e *env) {
			for _, f := range e.failures() {
				if f.err == nil {
					e.Errorf("%s succeeded, and should be %q", f.doing, f.kind)
					continue
				}
				for _, kind := range append(kinds, fs.ErrNotExist, context.Canceled) {
					if got, want := errors.Is(f.err, kind), kind == f.kind; got != want {
						e.Errorf("%s: error %q matches %q: %v, want %v", f.doing, f.err, kind, got, want)
					}
				}
				var shape *backend.Error
				if !errors.As(f.err, &shape) {
					e.Errorf("%s: the error %q (%T) is no *backend.Error", f.doing, f.err, f.err)
				} else if shape.Op != f.op || shape.Workspace != f.workspace || shape.Backend == "" {
					e.Errorf("%s: Op %q, Workspace %q and Backend %q, want %q, %q and the backend's type and place",
						f.doing, shape.Op, shape.Workspace, shape.Backend, f.op, f.workspace)
				}
			}
		},
	},
	{
		Name:     "held is returned as it is",
		Sentence: "A *lock.HeldError is returned as it is: it is no *backend.Error, and of no kind.",
		Check: func(e *env) {
			e.lock(e.a)
			for _, m := range lockMethods(e.locker(e.b), e.ws) {
				if m.op == "holder" {
					continue
				}
				if err := m.call(e.Ctx); !isExactlyHeld(err) {
					e.Errorf("%s of a lock that another holds: got error %T (%v), want a *HeldError of no kind", m.op, err, err)
				}
			}
		},
	},
	{
		Name:     "no secrets",
		Sentence: "No error text, and no lock record, holds a credential; printing the Backend shows none.",
		Check: func(e *env) {
			e.Need("Canary", e.target.Canary != "")
			texts := []string{fmt.Sprintf("%v %+v %#v", e.a, e.a, e.a)}
			for _, f := range e.failures() {
				texts = append(texts, chain(f.err)...)
			}
			if l, ok := backend.As[lock.Locker](e.a); ok {
				held, err := l.Lock(e.Ctx, e.ws, lock.NewInfo("conformance"))
				e.Must("Lock", err)
				record, err := held.MarshalJSON()
				e.Must("MarshalJSON", err)
				texts = append(texts, string(record), held.String())
				_, err = l.Lock(e.Ctx, e.ws, lock.NewInfo("conformance"))
				texts = append(texts, chain(err)...)
			}
			if e.ns.Hung != nil { // the client's own errors love to quote a URL
				b := e.open(e.ns.Hung)
				for _, m := range append(e.methods(b, e.ws), listing(b)) {
					ctx, cancel := context.WithTimeout(e.Ctx, 20*time.Millisecond)
					texts = append(texts, chain(m.call(ctx))...)
					cancel()
				}
			}
			for _, text := range texts {
				if strings.Contains(text, e.target.Canary) {
					e.Errorf("the credential is shown in: %s", text)
				}
			}
		},
	},
}

func isExactlyHeld(err error) bool {
	_, held := err.(*lock.HeldError)
	return held && !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// A failure is an error that was provoked, and what it should be.
type failure struct {
	doing, op, workspace string
	err, kind            error
}

// failures provokes errors of all kinds that take no fault to happen. It leaves no
// state and no lock.
func (e *env) failures() []failure {
	var all []failure
	add := func(doing, op string, err, kind error) {
		all = append(all, failure{doing, op, e.ws, err, kind})
	}
	write := func(data string, cond backend.Condition) error {
		_, err := e.a.Write(e.Ctx, e.ws, []byte(data), cond)
		return err
	}
	_, err := e.a.Read(e.Ctx, e.ws)
	add("Read of a missing state", "read", err, backend.ErrNotExist)
	add("Delete of a missing state", "delete", e.a.Delete(e.Ctx, e.ws, at(backend.AnyRevision)), backend.ErrNotExist)
	add("Write of no bytes", "write", write("", backend.Condition{}), backend.ErrInvalid)
	add("Write with a revision where no state exists", "write", write("x", at(noRevision)), backend.ErrConflict)
	rev := e.create("one")
	add("Write with the zero Condition", "write", write("x", backend.Condition{}), backend.ErrConflict)
	add("Write with another revision", "write", write("x", at(noRevision)), backend.ErrConflict)
	add("Delete with another revision", "delete", e.a.Delete(e.Ctx, e.ws, at(noRevision)), backend.ErrConflict)
	e.Must("Delete", e.a.Delete(e.Ctx, e.ws, at(rev)))
	if s, ok := backend.As[backend.Stater](e.a); ok {
		_, err := s.Stat(e.Ctx, e.ws)
		add("Stat of a missing state", "stat", err, backend.ErrNotExist)
	}
	if l, ok := backend.As[lock.Locker](e.a); ok {
		_, err := l.Holder(e.Ctx, e.ws)
		add("Holder when nobody holds the lock", "holder", err, lock.ErrNotHeld)
		add("Unlock when nobody holds the lock", "unlock", l.Unlock(e.Ctx, e.ws, lock.NewID()), lock.ErrNotHeld)
	}
	for _, m := range e.methods(e.a, "a/b") {
		all = append(all, failure{m.op + " of an invalid name", m.op, "a/b", m.call(e.Ctx), backend.ErrInvalidName})
	}
	cancelled := e.Ended()[context.Canceled]
	for _, m := range e.methods(e.a, e.ws) {
		add(m.op+" with a cancelled context", m.op, m.call(cancelled), context.Canceled)
	}
	list := listing(e.a)
	return append(all, failure{"List with a cancelled context", list.op, "", list.call(cancelled), context.Canceled})
}

// chain returns the texts of err and of all that it holds.
func chain(err error) []string {
	if err == nil {
		return nil
	}
	texts := []string{err.Error()}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		texts = append(texts, chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			texts = append(texts, chain(err)...)
		}
	}
	return texts
}
