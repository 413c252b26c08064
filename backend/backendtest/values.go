package backendtest

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

var values = table{
	{
		Name:     "no aliasing of what was written",
		Sentence: "The data given to Write is neither retained nor changed.",
		Check: func(e *env) {
			data := []byte("one")
			rev, err := e.a.Write(e.Ctx, e.ws, data, backend.Condition{})
			e.Must("Write", err)
			if string(data) != "one" {
				e.Errorf("Write changed its data to %q", data)
			}
			copy(data, "XXX")
			e.stored("one", rev)
		},
	},
	{
		Name:     "no aliasing of what was read",
		Sentence: "The data that Read returns is the caller's, who may change it.",
		Check: func(e *env) {
			rev := e.create("one")
			for _, b := range []backend.Backend{e.a, e.b} {
				st, err := b.Read(e.Ctx, e.ws)
				e.Must("Read", err)
				copy(st.Data, "XXX")
				e.stored("one", rev)
			}
		},
	},
	{
		Name:     "any bytes",
		Sentence: "A state is opaque: every sequence of bytes comes back as it was.",
		Check: func(e *env) {
			every := make([]byte, 256)
			for i := range every {
				every[i] = byte(i)
			}
			for _, data := range []string{"\x00", "\n", " {} \r\n", string(every), "\xef\xbb\xbf{}", "\x1f\x8b\x08\x00", `"` + "\u2028<&>"} {
				e.stored(data, e.write(e.a, data, at(backend.AnyRevision)))
			}
		},
	},
	{
		Name:     "empty data",
		Sentence: "Empty data is ErrInvalid, and nothing has changed.",
		Check: func(e *env) {
			refused := func(rev backend.Revision) {
				for _, data := range [][]byte{nil, {}} {
					for _, rev := range []backend.Revision{rev, backend.AnyRevision} {
						_, err := e.a.Write(e.Ctx, e.ws, data, at(rev))
						e.Is("Write of no bytes", err, backend.ErrInvalid)
					}
				}
			}
			refused("")
			e.missing()
			rev := e.create("one")
			refused(rev)
			e.stored("one", rev)
		},
	},
	{
		Name:     "large states",
		Sentence: "Neither a Condition nor a byte is lost at any size, also where services cut what they send into parts.",
		Check: func(e *env) {
			noise := make([]byte, slices.Max(e.sizes())+len(e.sizes()))
			rand.NewChaCha8([32]byte{}).Read(noise)
			var rev, stale backend.Revision = "", noRevision
			for i, size := range e.sizes() {
				_, err := e.b.Write(e.Ctx, e.ws, noise[len(noise)-size:], at(stale))
				e.Is("Write of a large state with another revision", err, backend.ErrConflict)
				data := noise[i : i+size]
				written, err := e.a.Write(e.Ctx, e.ws, data, at(rev))
				e.Must("Write of a large state", err)
				st, err := e.b.Read(e.Ctx, e.ws)
				e.Must("Read of a large state", err)
				if !bytes.Equal(st.Data, data) || st.Revision != written {
					e.Fatalf("Read: got other bytes (%d) or another revision (%q) than were written (%d, %q)", len(st.Data), st.Revision, size, written)
				}
				rev, stale = written, rev
				if i%3 == 2 {
					e.refusedToo(noise[len(noise)-size:])
				}
			}
		},
	},
	{
		Name:     "too large",
		Sentence: "A state beyond the configured size is ErrTooLarge, to write and to read, and nothing has changed.",
		Check: func(e *env) {
			e.Need("Limited", e.ns.Limited != nil)
			const limit = 1000
			limited := e.ns.Limited(e.TB, limit)
			e.Cleanup(func() { limited.Close() })
			data := string(bytes.Repeat([]byte("x"), limit+1))
			_, err := limited.Write(e.Ctx, e.ws, []byte(data), backend.Condition{})
			e.Is("Write of a state that is too large", err, backend.ErrTooLarge)
			e.missing()
			rev := e.write(limited, data[:limit], backend.Condition{})
			st, err := limited.Read(e.Ctx, e.ws)
			if e.Must("Read of a state of the largest size", err); len(st.Data) != limit {
				e.Errorf("Read: got %d bytes, want %d", len(st.Data), limit)
			}
			rev = e.write(e.a, data, at(rev))
			_, err = limited.Read(e.Ctx, e.ws)
			e.Is("Read of a state that is too large", err, backend.ErrTooLarge)
			e.stored(data, rev)
		},
	},
	{
		Name:     "valid names",
		Sentence: "Every name that CheckWorkspace lets pass names a workspace, apart from all others.",
		Check: func(e *env) {
			cond := map[string]backend.Condition{}
			for _, name := range clause.ValidNames {
				var held lock.Info // beside each other, locks and states must not meet either
				var err error
				if l, ok := backend.As[lock.Locker](e.a); ok {
					held, err = l.Lock(e.Ctx, name, lock.NewInfo("conformance"))
					e.Must("Lock "+name, err)
				}
				rev, err := e.a.Write(e.Ctx, name, []byte("state of "+name), backend.Condition{LockID: held.ID})
				e.Must("Write to "+name, err)
				cond[name] = backend.Condition{Revision: rev, LockID: held.ID}
			}
			e.listed(clause.ValidNames...)
			for _, name := range clause.ValidNames {
				st, err := e.b.Read(e.Ctx, name)
				if e.Must("Read of "+name, err); string(st.Data) != "state of "+name || st.Revision != cond[name].Revision {
					e.Errorf("workspace %q has %s with revision %q", name, brief(st.Data), st.Revision)
				}
				e.Must("Delete of "+name, e.a.Delete(e.Ctx, name, cond[name]))
			}
			for _, name := range clause.ValidNames {
				_, err := e.b.Read(e.Ctx, name)
				e.Is("Read of "+name+" after Delete", err, backend.ErrNotExist)
			}
		},
	},
	{
		Name:     "invalid names",
		Sentence: "A workspace name passes CheckWorkspace before any request is made; the error of one that does not matches ErrInvalidName.",
		Check: func(e *env) {
			backends := []backend.Backend{e.a}
			if e.ns.Hung != nil { // a request would never return
				backends = append(backends, e.open(e.ns.Hung))
			}
			for _, b := range backends {
				for _, name := range clause.InvalidNames {
					for _, m := range e.methods(b, name) {
						if e.Is(m.op+" of an invalid name", e.briefly(m.call), backend.ErrInvalidName); e.Failed() {
							return
						}
					}
				}
			}
		},
	},
}

// refusedToo has a large state refused for other reasons than its revision.
func (e *env) refusedToo(data []byte) {
	e.Helper()
	_, err := e.b.Write(e.Ctx, e.ws, data, backend.Condition{})
	e.Is("Write of a large state with the zero Condition", err, backend.ErrConflict)
	if e.target.Fenced {
		_, err := e.b.Write(e.Ctx, e.ws, data, backend.Condition{Revision: backend.AnyRevision, LockID: lock.NewID()})
		e.Is("Write of a large state under no lock", err, lock.ErrNotHeld)
	}
}

// sizes are the sizes of large states, as far as the target takes them.
func (e *env) sizes() []int {
	var sizes []int
	for _, mib := range []int{5, 8, 16, 32} {
		for by := -1; by <= 1; by++ {
			if size := mib<<20 + by; e.target.MaxSize == 0 || size <= e.target.MaxSize {
				sizes = append(sizes, size)
			}
		}
	}
	if len(sizes) == 0 {
		sizes = append(sizes, e.target.MaxSize)
	}
	return sizes
}
