package tftest

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func states(s *scene) {
	s.apply(2, "one")
	_, theirs := s.read(backend.DefaultWorkspace, "one", "one")
	ours := s.update("one", "two", func() {})
	if ours.Lineage != theirs.Lineage || ours.Serial != theirs.Serial+1 {
		s.Errorf("we made %+v of %+v", ours, theirs)
	}
	s.noChange(2, "two")
	if pulled := s.header([]byte(s.theirs.Must("state", "pull"))); pulled.Lineage != ours.Lineage || pulled.Serial != ours.Serial {
		s.Errorf("they read %+v where we wrote %+v", pulled, ours)
	}
}

func theyHold(s *scene) {
	apply, gate := s.applying()
	shown := s.refused()
	_, err := s.locks.Lock(s.Context(), backend.DefaultWorkspace, ourInfo())
	var held *lock.HeldError
	if !errors.As(err, &held) {
		s.Fatalf("Lock while they hold it: %v; want a *lock.HeldError", err)
	}
	s.sameHolder(shown, held.Holder)
	s.sameHolder(shown, s.holder())
	Open(s, gate)
	apply.Must()
	s.read(backend.DefaultWorkspace, "one", "one")
	s.free()
}

func weHold(s *scene) {
	held := s.lock()
	s.configure(1, "one", "")
	s.sameHolder(s.refused(), held)
	s.unlock(held.ID)
	s.apply(1, "one")
	s.read(backend.DefaultWorkspace, "one")
}

func theyWait(s *scene) {
	s.apply(1, "one")
	var apply *Process
	goOn := func() {}
	ours := s.update("one", "two", func() {
		s.configure(2, "two", "")
		for _, p := range s.Proxies {
			p.Reset()
		}
		apply = s.theirs.Start("apply", "-auto-approve", "-lock-timeout=30s")
		apply.Until("Acquiring state lock. This may take a few moments")
		if s.Waiting != nil {
			s.Waiting(apply)
		}
		if s.Proxies != nil {
			goOn = s.holdNextAttempt()
		}
	})
	goOn()
	// From the old state they would have one to add and one to change.
	if out, want := apply.Must(), "1 added, 0 changed, 0 destroyed"; !strings.Contains(out, want) {
		s.Errorf("they did not apply %q:\n%s", want, out)
	}
	_, theirs := s.read(backend.DefaultWorkspace, "two", "two")
	if theirs.Lineage != ours.Lineage || theirs.Serial <= ours.Serial {
		s.Errorf("they made %+v of our %+v", theirs, ours)
	}
}

func weRelease(s *scene) {
	apply, _ := s.applying()
	id := s.holder().ID
	var held *lock.HeldError
	err := s.locks.Unlock(s.Context(), backend.DefaultWorkspace, lock.NewID())
	if !errors.As(err, &held) || held.Holder.ID != id {
		s.Errorf("Unlock with another ID: %v; want a *lock.HeldError with ID %s", err, id)
	}
	if s.ProcessBound {
		err := s.locks.Unlock(s.Context(), backend.DefaultWorkspace, id)
		if !errors.As(err, &held) || !errors.Is(err, errors.ErrUnsupported) {
			s.Errorf("Unlock of the lock of a process: %v; want a *lock.HeldError that matches errors.ErrUnsupported", err)
		}
	}
	apply.Kill()
	if !s.ProcessBound {
		s.unlock(id)
	}
	s.free()
}

func theyRelease(s *scene) {
	id := s.lock().ID
	out, err := s.theirs.Run("force-unlock", "-force", id)
	if s.ProcessBound {
		if err == nil {
			s.Errorf("they released the lock of this process:\n%s", out)
		}
		s.unlock(id)
	} else {
		if err != nil {
			s.Errorf("force-unlock: %v\n%s", err, out)
		}
		if err := s.locks.Unlock(s.Context(), backend.DefaultWorkspace, id); !errors.Is(err, lock.ErrNotHeld) {
			s.Errorf("Unlock after their force-unlock: %v; want lock.ErrNotHeld", err)
		}
	}
	s.free()
	s.apply(1, "one")
}

func workspaces(s *scene) {
	s.theirs.Must("workspace", "new", "theirs")
	s.sameWorkspaces("theirs")
	s.apply(1, "one")
	st, _ := s.read("theirs", "one")

	data, err := Reword(st.Data, "one", "two")
	if err != nil {
		s.Fatal(err)
	}
	rev, err := s.Ours.Write(s.Context(), "ours", data, backend.Condition{})
	if err != nil {
		s.Fatal(err)
	}
	s.sameWorkspaces("ours", "theirs")
	s.theirs.Must("workspace", "select", "ours")
	s.noChange(1, "two")

	s.theirs.Must("workspace", "delete", "-force", "theirs")
	s.sameWorkspaces("ours")
	s.missing("theirs")

	s.theirs.Must("workspace", "select", "default")
	if err := s.Ours.Delete(s.Context(), "ours", backend.Condition{Revision: rev}); err != nil {
		s.Fatal(err)
	}
	s.missing("ours")
	if s.LeavesEmpty {
		s.theirs.Must("workspace", "delete", "ours")
	}
	s.sameWorkspaces(s.ourWorkspaces()...) // package local leaves the directory
}

// applying lets them apply, up to a gate that keeps them at it.
func (s *scene) applying() (apply *Process, gate string) {
	s.Helper()
	s.apply(1, "one")
	gate = filepath.Join(s.TempDir(), "open")
	s.configure(2, "one", gate)
	apply = s.theirs.Start("apply", "-auto-approve")
	apply.Until("Provisioning with 'local-exec'")
	return apply, gate
}

// refused lets them apply while the lock is held, and returns the holder whom
// they show.
func (s *scene) refused() lock.Info {
	s.Helper()
	out, err := s.theirs.Run("apply", "-auto-approve")
	if err == nil || !strings.Contains(out, "Error acquiring the state lock") {
		s.Fatalf("they were not refused by the lock: %v\n%s", err, out)
	}
	return shownHolder(out)
}

// shownHolder returns the holder of a lock whom the program shows.
func shownHolder(out string) lock.Info {
	shown := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimLeft(line, "│ "), ":"); ok {
			shown[name] = strings.TrimSpace(value)
		}
	}
	created, _ := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", shown["Created"])
	return lock.Info{
		ID: shown["ID"], Operation: shown["Operation"], Info: shown["Info"], Who: shown["Who"],
		Version: shown["Version"], Created: created, Path: shown["Path"],
	}
}

// sameHolder compares what they show with what we say. They know no TTL and no Ref.
func (s *scene) sameHolder(shown, ours lock.Info) {
	s.Helper()
	ours.TTL, ours.Ref = 0, ""
	if diff := cmp.Diff(shown, ours); diff != "" || shown.ID == "" || shown.Who == "" || shown.Operation == "" {
		s.Errorf("the holder (-they show +we say):\n%s", diff)
	}
}

// ourInfo describes a holder whom they cannot take for one of theirs.
func ourInfo() lock.Info {
	info := lock.NewInfo("tftest")
	info.Who = "somebody@somewhere"
	info.Info = "a test"
	return info
}

func (s *scene) lock() lock.Info {
	s.Helper()
	info, err := s.locks.Lock(s.Context(), backend.DefaultWorkspace, ourInfo())
	if err != nil {
		s.Fatal(err)
	}
	return info
}

func (s *scene) unlock(id string) {
	s.Helper()
	if err := s.locks.Unlock(s.Context(), backend.DefaultWorkspace, id); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) holder() lock.Info {
	s.Helper()
	holder, err := s.locks.Holder(s.Context(), backend.DefaultWorkspace)
	if err != nil {
		s.Fatal(err)
	}
	return holder
}

// free has to find nobody who holds the lock. Some services let a lock rest for a
// while after its holder has died.
func (s *scene) free() {
	s.Helper()
	if holder, err := s.locks.Holder(s.Context(), backend.DefaultWorkspace); !errors.Is(err, lock.ErrNotHeld) {
		s.Errorf("Holder: %v, %v; want lock.ErrNotHeld", holder, err)
	}
	l, err := lock.Acquire(s.Context(), s.locks, backend.DefaultWorkspace, ourInfo(), lock.Options{Timeout: 30 * time.Second})
	if err != nil {
		s.Fatal(err)
	}
	if err := l.Release(s.Context()); err != nil {
		s.Error(err)
	}
}

func (s *scene) missing(workspace string) {
	s.Helper()
	if _, err := s.Ours.Read(s.Context(), workspace); !errors.Is(err, backend.ErrNotExist) {
		s.Errorf("Read workspace %q: %v; want backend.ErrNotExist", workspace, err)
	}
}

// sameWorkspaces compares both lists with these names. The default workspace is
// left out: they always show it.
func (s *scene) sameWorkspaces(names ...string) {
	s.Helper()
	if diff := cmp.Diff(names, s.ourWorkspaces(), cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("workspaces that we list (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names, s.theirWorkspaces(), cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("workspaces that they list (-want +got):\n%s", diff)
	}
}

func (s *scene) ourWorkspaces() []string {
	s.Helper()
	var names []string
	for name, err := range s.Ours.List(s.Context()) {
		if err != nil {
			s.Fatal(err)
		}
		names = append(names, name)
	}
	return others(names)
}

func (s *scene) theirWorkspaces() []string {
	s.Helper()
	list := s.theirs.Must("workspace", "list") // the selected one is starred
	return others(strings.Fields(strings.ReplaceAll(list, "*", " ")))
}

func others(names []string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return name == backend.DefaultWorkspace })
	slices.Sort(names)
	return names
}
