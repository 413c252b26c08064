package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// late cuts the first request that matches, and keeps it: deliver has the server see it
// after all.
func late(p *faultproxy.Proxy, match faultproxy.Match) (deliver func()) {
	var met atomic.Bool
	kept := make(chan func(), 1)
	p.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if !match(r) || met.Swap(true) {
			forward.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r = r.Clone(context.WithoutCancel(r.Context()))
		r.Body = io.NopCloser(bytes.NewReader(body))
		kept <- func() { forward.ServeHTTP(httptest.NewRecorder(), r) }
		panic(http.ErrAbortHandler)
	})
	return func() { (<-kept)() }
}

// unknownID wants a Lock in doubt, and returns the ID.
func unknownID(t *testing.T, err error) string {
	t.Helper()
	var unknown *lock.UnknownError
	if !errors.As(err, &unknown) {
		t.Fatalf("Lock: got error %v, want an *UnknownError", err)
	}
	return unknown.ID
}

// TestLateBehindAnother has the PUT of a Lock arrive after another's lock was seen, and
// was released: the error names that other, and the ID that clears what came late.
func TestLateBehindAnother(t *testing.T) {
	for name, s := range map[string]setup{
		"file":  {objects: versitygw, file: true},
		"table": {objects: versitygw, table: dynalite},
	} {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			w, other := n.wire(t), n.client(t, wire{})
			p := w.objects
			if s.table != nil {
				p = w.tables
			}
			deliver := late(p, stores)
			var held lock.Info
			w.add(faultproxy.Rule{Match: stores, Fault: faultproxy.Before(func(*http.Request) { held = mustLock(t, other) })})
			w.add(faultproxy.Rule{Match: faultproxy.Any(isLock("GET"), isItem("GetItem")), Fault: faultproxy.After(func(*http.Request) {
				unlocks(t, other, held.ID)
				deliver()
			})})
			_, err := n.client(t, w).Lock(t.Context(), "default", lock.NewInfo("test"))
			var refused *lock.HeldError
			if !errors.As(err, &refused) || refused.Holder.ID != held.ID {
				t.Errorf("Lock: got error %v, want it held by %s", err, held.ID)
			}
			id := unknownID(t, err)
			heldBy(t, other, id)
			unlocks(t, other, id)
		})
	}
}

// TestRefusedByItself has a PUT delivered twice, the refusal of the second passed on,
// and what there is not to be seen: whether it was applied is not known.
func TestRefusedByItself(t *testing.T) {
	ctx := t.Context()
	always := func(w wire, match faultproxy.Match, fault faultproxy.Fault) {
		w.add(faultproxy.Rule{Match: match, Times: faultproxy.Always, Fault: fault})
	}
	open := func(t *testing.T, s setup) (*namespace, wire, *client) {
		n := s.open(t)
		w := n.wire(t)
		always(w, stores, faultproxy.Duplicate(2))
		return n, w, n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 })
	}
	file, table := setup{objects: versitygw, file: true}, setup{objects: versitygw, table: dynalite}
	for name, s := range map[string]setup{"Lock, file": file, "Lock, table": table} {
		t.Run(name, func(t *testing.T) {
			n, w, c := open(t, s)
			busy := busy
			if s.table != nil {
				busy = tableError("ThrottlingException")
			}
			always(w, faultproxy.Any(isLock("GET"), isItem("GetItem")), faultproxy.Answer(busy))
			_, err := c.Lock(ctx, "default", lock.NewInfo("test"))
			wants(t, "Lock", err, lock.ErrUnknown)
			id := unknownID(t, err)
			heldBy(t, n.client(t, wire{}), id)
			unlocks(t, n.client(t, wire{}), id)
		})
	}
	for name, test := range map[string]struct {
		fails faultproxy.Match
		kinds []error
	}{
		"HEAD":         {isState("HEAD"), nil},
		"HEAD and GET": {faultproxy.Any(isState("HEAD"), isState("GET")), []error{backend.ErrUnknown}},
	} {
		t.Run("Write, no "+name, func(t *testing.T) {
			n, w, c := open(t, file)
			always(w, test.fails, faultproxy.Answer(busy))
			_, err := c.Write(ctx, "default", []byte("one"), backend.Condition{})
			wants(t, "Write", err, test.kinds...)
			if got := n.object(t, n.config.Key); got != "one" {
				t.Errorf("the state is %q", got)
			}
		})
	}
}

// TestHalfReleased has one of two locks not released: the error does not say that
// nothing has changed, and Unlock again releases what is left.
func TestHalfReleased(t *testing.T) {
	busyTable := faultproxy.Answer(tableError("ThrottlingException"))
	for name, test := range map[string]struct {
		file, item faultproxy.Fault // the zero Fault lets it be released
		kind       error
	}{
		"the item alone":              {faultproxy.Answer(busy), faultproxy.Fault{}, backend.ErrUnknown},
		"the file alone":              {faultproxy.Fault{}, busyTable, backend.ErrUnknown},
		"neither, as far as is known": {faultproxy.Answer(busy), faultproxy.CutBefore(), backend.ErrUnknown},
		"neither":                     {faultproxy.Answer(busy), busyTable, backend.ErrTransient},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
			w := n.wire(t)
			c := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 })
			held := mustLock(t, c)
			file := w.objects.Add(faultproxy.Rule{Match: isLock("DELETE"), Times: faultproxy.Always, Fault: test.file})
			item := w.tables.Add(faultproxy.Rule{Match: isItem("DeleteItem"), Times: faultproxy.Always, Fault: test.item})
			wants(t, "Unlock", c.Unlock(t.Context(), "default", held.ID), test.kind)
			file.Remove()
			item.Remove()
			unlocks(t, c, held.ID)
			heldBy(t, n.client(t, wire{}), "")
		})
	}
}

// TestTornGivenBack has an endpoint that cannot lock show a lock file that it has not yet
// written: the caller is given the ID.
func TestTornGivenBack(t *testing.T) {
	n := setup{objects: s3rver, file: true}.open(t)
	w := n.wire(t)
	torn := faultproxy.Reply{Header: http.Header{"ETag": {`"d41d8cd98f00b204e9800998ecf8427e"`}}}
	w.objects.Add(faultproxy.Rule{Match: isLock("GET"), Fault: faultproxy.Answer(torn)})
	c := n.client(t, w)
	_, err := c.Lock(t.Context(), "default", lock.NewInfo("test"))
	id := unknownID(t, err)
	heldBy(t, c, id)
	unlocks(t, c, id)
	heldBy(t, c, "")
}
