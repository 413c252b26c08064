// Package probing finds out, step by step, what a backend allows to the credentials
// at hand, and whether it keeps the contract where that matters most.
package probing

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/guard"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
)

// A Status says how a step went.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// A Step is one thing that was tried.
type Step struct {
	Name   string
	Status Status
	Detail string // what was seen, or why it was skipped
	Err    error  // Failed: why
	Took   time.Duration
}

const operation = "probe"

// skip is why a step is not done.
type skip string

func (s skip) Error() string { return string(s) }

// A probe is one run.
type probe struct {
	b     backend.Backend
	tell  func(Step)
	steps []Step
}

// try does a step. A failed or skipped one is reported by false.
func (p *probe) try(name string, do func() (detail string, err error)) bool {
	start := time.Now()
	s := Step{Name: name, Status: OK}
	var why skip
	switch s.Detail, s.Err = do(); {
	case errors.As(s.Err, &why):
		s.Status, s.Detail, s.Err = Skipped, string(why), nil
	case errors.Is(s.Err, errors.ErrUnsupported):
		s.Status, s.Detail, s.Err = Skipped, s.Err.Error(), nil
	case s.Err != nil:
		s.Status = Failed
	}
	s.Took = time.Since(start)
	p.steps = append(p.steps, s)
	p.tell(s)
	return s.Status == OK
}

// Look lists, reads a workspace, and takes and releases its lock, if it has a state
// and is free. That changes nothing. Each step is told when it is done.
func Look(ctx context.Context, b backend.Backend, workspace string, tell func(Step)) []Step {
	p := &probe{b: b, tell: tell}
	p.try("list", func() (string, error) {
		for _, err := range b.List(ctx) {
			return "", err // the first answer tells
		}
		return "there are no workspaces yet", nil
	})
	exists := false
	p.try("read", func() (string, error) {
		state, err := b.Read(ctx, workspace)
		if errors.Is(err, backend.ErrNotExist) {
			return "there is no state yet", nil
		}
		if err != nil {
			return "", err
		}
		exists = true
		detail := fmt.Sprintf("%d bytes, which are no state", len(state.Data)) // no failure of the service
		if header, err := statefile.ReadHeader(state.Data); err == nil {
			detail = fmt.Sprintf("serial %d, %d bytes", header.Serial, len(state.Data))
		}
		return detail, nil
	})
	p.locks(ctx, workspace, exists)
	return p.steps
}

// locks looks at the lock of a workspace, and takes it if that leaves nothing behind.
func (p *probe) locks(ctx context.Context, workspace string, exists bool) {
	l, ok := backend.As[lock.Locker](p.b)
	free := false
	p.try("holder", func() (string, error) {
		if !ok {
			return "", skip("this backend has no locks")
		}
		holder, err := l.Holder(ctx, workspace)
		if errors.Is(err, lock.ErrNotHeld) {
			free = true
			return "nobody holds the lock", nil
		}
		if err != nil {
			return "", err
		}
		return "held by " + holder.String(), nil
	})
	var held *lock.Lock
	locked := p.try("lock", func() (_ string, err error) {
		switch {
		case !free:
			return "", skip("the lock is not known to be free")
		case !exists:
			return "", skip("a lock without a state may leave an empty one; --write tries it elsewhere")
		}
		held, err = p.lock(ctx, l, workspace)
		return "", err
	})
	p.try("unlock", func() (string, error) {
		if !locked {
			return "", skip("no lock was taken")
		}
		return "", guard.Release(ctx, held)
	})
}

// lock takes a lock, and clears what an attempt may have left.
func (p *probe) lock(ctx context.Context, l lock.Locker, workspace string) (*lock.Lock, error) {
	return lock.Acquire(ctx, lockOnly{l}, workspace, lock.NewInfo(operation), lock.Options{Check: -1})
}

// lockOnly hides the abilities of a Locker, so that nothing keeps its locks alive.
type lockOnly struct{ lock.Locker }

func (p *probe) unlock(ctx context.Context, l lock.Locker, workspace, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return l.Unlock(ctx, workspace, id)
}

// Write creates a state in a workspace of its own, with a random name; reads, replaces,
// locks and deletes it; and sees to it that what the contract forbids is refused.
func Write(ctx context.Context, b backend.Backend, tell func(Step)) []Step {
	p := &probe{b: b, tell: tell}
	s := scratch{p, "statelatch-probe-" + strings.ToLower(rand.Text()[:10]), statefile.New("", statefile.NewLineage()), ""}
	if p.try("create", func() (string, error) { return "workspace " + s.name, s.create(ctx) }) {
		s.use(ctx)
	} else if ctx.Err() != nil || errors.Is(p.steps[0].Err, backend.ErrUnknown) {
		_ = s.remove(ctx) // it may be there, or not
	}
	return p.steps
}

// A scratch is the workspace that Write works in.
type scratch struct {
	*probe
	name string
	data []byte
	rev  backend.Revision
}

func (s *scratch) create(ctx context.Context) (err error) {
	s.rev, err = s.b.Write(ctx, s.name, s.data, backend.Condition{})
	return err
}

func (s *scratch) use(ctx context.Context) {
	s.try("refuse to create it twice", func() (string, error) {
		_, err := s.b.Write(ctx, s.name, s.data, backend.Condition{})
		return "", mustBe(err, backend.ErrConflict)
	})
	s.try("read it back", func() (string, error) {
		state, err := s.b.Read(ctx, s.name)
		if err == nil && !bytes.Equal(state.Data, s.data) {
			err = errors.New("it reads back with other contents")
		}
		return "", err
	})
	old := s.rev
	s.try("replace it", func() (_ string, err error) {
		if s.data, err = statefile.Bump(s.data); err == nil {
			s.rev, err = s.b.Write(ctx, s.name, s.data, backend.Condition{Revision: s.rev})
		}
		return "", err
	})
	s.try("refuse a stale write", func() (string, error) {
		_, err := s.b.Write(ctx, s.name, []byte("{}"), backend.Condition{Revision: old})
		return "", mustBe(err, backend.ErrConflict)
	})
	if l, ok := backend.As[lock.Locker](s.b); ok {
		s.lockIt(ctx, l)
	}
	s.try("delete it", func() (string, error) { return "", s.remove(ctx) })
}

func (s *scratch) lockIt(ctx context.Context, l lock.Locker) {
	var held *lock.Lock
	if !s.try("lock it", func() (_ string, err error) { held, err = s.lock(ctx, l, s.name); return "", err }) {
		return
	}
	s.try("refuse a second lock", func() (string, error) {
		info, err := l.Lock(ctx, s.name, lock.NewInfo(operation))
		if held := (*lock.HeldError)(nil); errors.As(err, &held) {
			return "", nil
		}
		if err == nil {
			err = errors.Join(errors.New("two have the lock at once"), s.unlock(ctx, l, s.name, info.ID))
		}
		return "", err
	})
	s.try("unlock it", func() (string, error) { return "", guard.Release(ctx, held) })
}

// remove deletes the scratch workspace, also when ctx has ended.
func (s *scratch) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.b.Delete(ctx, s.name, backend.Condition{Revision: backend.AnyRevision})
}

func mustBe(err, kind error) error {
	switch {
	case err == nil:
		return errors.New("it was not refused: updates can be lost here")
	case errors.Is(err, kind):
		return nil
	}
	return err
}
