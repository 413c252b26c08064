package backendtest

import (
	"context"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// A method of a Backend, and of its Locker, ready to be called. op is what
// backend.Error calls it.
type method struct {
	op   string
	call func(context.Context) error
}

// methods are those of b that concern one workspace.
func (e *env) methods(b backend.Backend, workspace string) []method {
	methods := []method{
		{"read", func(ctx context.Context) error {
			_, err := b.Read(ctx, workspace)
			return err
		}},
		{"write", func(ctx context.Context) error {
			_, err := b.Write(ctx, workspace, []byte("x"), at(backend.AnyRevision))
			return err
		}},
		{"delete", func(ctx context.Context) error { return b.Delete(ctx, workspace, at(backend.AnyRevision)) }},
	}
	if s, ok := backend.As[backend.Stater](b); ok {
		methods = append(methods, method{"stat", func(ctx context.Context) error {
			_, err := s.Stat(ctx, workspace)
			return err
		}})
	}
	if l, ok := backend.As[lock.Locker](b); ok {
		methods = append(methods, lockMethods(l, workspace)...)
	}
	return methods
}

func lockMethods(l lock.Locker, workspace string) []method {
	return []method{
		{"unlock", func(ctx context.Context) error { return l.Unlock(ctx, workspace, lock.NewID()) }},
		{"holder", func(ctx context.Context) error {
			_, err := l.Holder(ctx, workspace)
			return err
		}},
		{"lock", func(ctx context.Context) error {
			_, err := l.Lock(ctx, workspace, lock.NewInfo("conformance"))
			return err
		}},
	}
}

// listing is List, as a method that returns the error that it yields.
func listing(b backend.Backend) method {
	return method{"list", func(ctx context.Context) error {
		for _, err := range b.List(ctx) {
			if err != nil {
				return err
			}
		}
		return nil
	}}
}

// briefly calls a method that is to return at once.
func (e *env) briefly(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(e.Ctx, time.Second)
	defer cancel()
	return call(ctx)
}
