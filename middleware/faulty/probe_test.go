package faulty_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// A probe has every ability, and counts the calls that are applied.
type probe struct {
	backend.Backend // nil
	applied         int
}

func (p *probe) Read(context.Context, string) (backend.State, error) {
	p.applied++
	return backend.State{Data: []byte("x")}, nil
}

func (p *probe) Write(context.Context, string, []byte, backend.Condition) (backend.Revision, error) {
	p.applied++
	return "r", nil
}

func (p *probe) Delete(context.Context, string, backend.Condition) error { p.applied++; return nil }

func (p *probe) List(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		p.applied++
		_ = yield("a", nil) && yield("b", nil)
	}
}

func (p *probe) Stat(context.Context, string) (backend.Revision, error) { p.applied++; return "r", nil }

func (p *probe) Versions(context.Context, string) iter.Seq2[backend.Version, error] {
	return func(yield func(backend.Version, error) bool) {
		p.applied++
		yield(backend.Version{ID: "v"}, nil)
	}
}

func (p *probe) ReadVersion(context.Context, string, string) (backend.State, error) {
	p.applied++
	return backend.State{}, nil
}

func (p *probe) Lock(_ context.Context, _ string, info lock.Info) (lock.Info, error) {
	p.applied++
	info.ID, info.Ref = "imposed", info.ID
	return info, nil
}

func (p *probe) Unlock(context.Context, string, string) error { p.applied++; return nil }

func (p *probe) Holder(context.Context, string) (lock.Info, error) {
	p.applied++
	return lock.Info{}, nil
}

func (p *probe) Renew(context.Context, string, string) (lock.Info, error) {
	p.applied++
	return lock.Info{}, nil
}

func (p *probe) Wait(context.Context, string) error { p.applied++; return nil }

func (p *probe) LeaseTTL() time.Duration { return time.Minute }

const ws = "prod"

func must[T any](b backend.Backend) T {
	ability, ok := backend.As[T](b)
	if !ok {
		panic("missing ability")
	}
	return ability
}

// calls makes a call of each kind.
var calls = map[faulty.Op]func(context.Context, backend.Backend) error{
	faulty.Read: func(ctx context.Context, b backend.Backend) error {
		_, err := b.Read(ctx, ws)
		return err
	},
	faulty.Write: func(ctx context.Context, b backend.Backend) error {
		_, err := b.Write(ctx, ws, []byte("x"), backend.Condition{})
		return err
	},
	faulty.Delete: func(ctx context.Context, b backend.Backend) error {
		return b.Delete(ctx, ws, backend.Condition{})
	},
	faulty.List: func(ctx context.Context, b backend.Backend) error {
		return drain(b.List(ctx))
	},
	faulty.Stat: func(ctx context.Context, b backend.Backend) error {
		_, err := backend.Stat(ctx, b, ws)
		return err
	},
	faulty.Versions: func(ctx context.Context, b backend.Backend) error {
		return drain(must[backend.Historian](b).Versions(ctx, ws))
	},
	faulty.ReadVersion: func(ctx context.Context, b backend.Backend) error {
		_, err := must[backend.Historian](b).ReadVersion(ctx, ws, "v")
		return err
	},
	faulty.Lock: func(ctx context.Context, b backend.Backend) error {
		_, err := must[lock.Locker](b).Lock(ctx, ws, lock.NewInfo("test"))
		return err
	},
	faulty.Unlock: func(ctx context.Context, b backend.Backend) error {
		return must[lock.Locker](b).Unlock(ctx, ws, "id")
	},
	faulty.Holder: func(ctx context.Context, b backend.Backend) error {
		_, err := must[lock.Locker](b).Holder(ctx, ws)
		return err
	},
	faulty.Renew: func(ctx context.Context, b backend.Backend) error {
		_, err := must[lock.Renewer](b).Renew(ctx, ws, "id")
		return err
	},
	faulty.Wait: func(ctx context.Context, b backend.Backend) error {
		waiter, _ := lock.As[lock.Waiter](must[lock.Locker](b))
		return waiter.Wait(ctx, ws)
	},
}

func drain[R any](seq iter.Seq2[R, error]) (err error) {
	for _, e := range seq {
		err = e
	}
	return err
}

// mutations are the kinds of call that change something.
var mutations = []faulty.Op{faulty.Write, faulty.Delete, faulty.Unlock, faulty.Renew, faulty.Lock}

// each runs a test, in a bubble of its own, for each kind of call.
func each(t *testing.T, test func(t *testing.T, op faulty.Op, f *faulty.Backend, p *probe, call func(context.Context) error)) {
	for op, call := range calls {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &probe{}
				f := faulty.Wrap(p)
				test(t, op, f, p, func(ctx context.Context) error { return call(ctx, f) })
			})
		})
	}
}

// checkLost checks the error of a call whose reply is lost.
func checkLost(t *testing.T, op faulty.Op, err, readOnly error) {
	t.Helper()
	unknown, isLock := errors.AsType[*lock.UnknownError](err)
	own, isError := errors.AsType[*backend.Error](err)
	switch changes := slices.Contains(mutations, op); {
	case changes != errors.Is(err, backend.ErrUnknown), !changes && !errors.Is(err, readOnly):
		t.Errorf("%v", err)
	case isLock != (op == faulty.Lock), isLock && (unknown.ID != "imposed" || unknown.Workspace != ws):
		t.Errorf("%#v", err)
	case !isLock && (!isError || own.Op != string(op)):
		t.Errorf("%#v", err)
	}
}
