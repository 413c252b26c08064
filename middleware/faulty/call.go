package faulty

import (
	"context"
	"errors"
	"iter"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// A call is one call under way, with the rules that are about it.
type call struct {
	op        Op
	workspace string
	rules     []rule
}

// do makes one call, with the faults that are about it.
func do[R any](ctx context.Context, f *Backend, op Op, workspace string, inner func() (R, error)) (R, error) {
	var none R
	c, err := f.begin(ctx, op, workspace)
	if err != nil {
		return none, err
	}
	reply, err := inner()
	if cause := c.end(ctx); cause != nil {
		return none, c.lost(ctx, cause)
	}
	return reply, err
}

// doErr makes a call that returns no more than an error.
func doErr(ctx context.Context, f *Backend, op Op, workspace string, inner func() error) error {
	_, err := do(ctx, f, op, workspace, func() (struct{}, error) { return struct{}{}, inner() })
	return err
}

// doSeq makes a call that returns a sequence.
func doSeq[R any](ctx context.Context, f *Backend, op Op, workspace string, inner iter.Seq2[R, error]) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		c, err := f.begin(ctx, op, workspace)
		if err != nil {
			yield(none, err)
			return
		}
		for item, err := range inner {
			if !yield(item, err) || err != nil {
				return
			}
		}
		if cause := c.end(ctx); cause != nil {
			yield(none, c.lost(ctx, cause))
		}
	}
}

// begin counts a call and lets it meet with what comes before it is applied.
func (f *Backend) begin(ctx context.Context, op Op, workspace string) (call, error) {
	c := call{op: op, workspace: workspace}
	named := op == List || backend.CheckWorkspace(workspace) == nil
	if named && ctx.Err() == nil { // else a client makes no request, so none can fail
		c.rules = f.count(op)
	}
	for _, r := range c.rules {
		if err := r.before(ctx); err != nil {
			return c, c.refused(err)
		}
	}
	return c, nil
}

// end lets a call meet with what comes after it was applied, and returns why its
// reply is lost, or nil.
func (c call) end(ctx context.Context) error {
	for _, r := range c.rules {
		if err := r.after(ctx); err != nil {
			return err
		}
	}
	return nil
}

// refused is the error of a call that was not applied.
func (c call) refused(err error) error {
	if errors.As(err, new(*backend.Error)) || errors.As(err, new(*lock.HeldError)) || errors.As(err, new(*lock.UnknownError)) {
		return err // it has the shape that the contract asks for
	}
	return c.failure(err, nil)
}

// lost is the error of a call whose reply is lost; Lock has its own.
func (c call) lost(ctx context.Context, cause error) error {
	switch c.op {
	case Write, Delete, Unlock, Renew:
		return c.failure(backend.ErrUnknown, cause)
	}
	if ctx.Err() != nil {
		return c.failure(cause, nil)
	}
	return c.failure(backend.ErrTransient, cause)
}

func (c call) failure(kind, cause error) error {
	return &backend.Error{Op: string(c.op), Backend: "faulty", Workspace: c.workspace, Kind: kind, Err: cause}
}
