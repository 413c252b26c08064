package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// TestUnreadableLock breaks locks that nobody can read by the ID that is reported.
func TestUnreadableLock(t *testing.T) {
	for name, s := range map[string]setup{
		"file, conforming": {objects: versitygw, file: true},
		"file, found out":  {objects: minio, file: true},
		"table":            {objects: versitygw, table: dynalite},
	} {
		for _, record := range []string{"rubbish", "{}", "[]", "null", `{"ID":7}`, strings.Repeat("x", lock.MaxInfo+1)} {
			t.Run(name+"/"+record[:min(len(record), 8)], func(t *testing.T) {
				n := s.open(t)
				c := n.client(t, wire{})
				store := func(record string) {
					if s.file {
						n.put(t, n.key("default")+".tflock", record)
					} else {
						n.item(t, n.lockKey("default"), "Info", record)
					}
				}
				store(record)
				holder, err := c.Holder(t.Context(), "default")
				if err != nil || !strings.HasPrefix(holder.ID, "unreadable-") || strings.Contains(holder.ID, `"`) {
					t.Fatalf("Holder: got %+v, %v", holder, err)
				}
				refuses(t, c, holder.ID)
				isHeld(t, "Unlock without an ID", c.Unlock(t.Context(), "default", ""), holder.ID)
				store(record + " ")
				later, err := c.Holder(t.Context(), "default")
				if err != nil || later.ID == holder.ID {
					t.Fatalf("Holder of another record: got %q, %v", later.ID, err)
				}
				isHeld(t, "Unlock of the earlier", c.Unlock(t.Context(), "default", holder.ID), later.ID)
				unlocks(t, c, later.ID)
				held := mustLock(t, c)
				isHeld(t, "Unlock of the earlier", c.Unlock(t.Context(), "default", later.ID), held.ID)
				heldBy(t, c, held.ID)
			})
		}
	}
	t.Run("item without Info", func(t *testing.T) {
		n := setup{objects: versitygw, table: dynalite}.open(t)
		c := n.client(t, wire{})
		n.item(t, n.lockKey("default"), "Another", "attribute")
		holder, err := c.Holder(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		unlocks(t, c, holder.ID)
		heldBy(t, c, "")
	})
}

// TestBroken has a lock broken, and taken by another, behind the back of its holder.
func TestBroken(t *testing.T) {
	for name, s := range map[string]setup{
		"file":  {objects: versitygw, file: true},
		"table": {objects: versitygw, table: dynalite},
		"both":  {objects: versitygw, table: dynalite, file: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			c, other := n.client(t, wire{}), n.client(t, wire{})
			held := mustLock(t, c)
			unlocks(t, other, held.ID)
			if err := c.Unlock(t.Context(), "default", held.ID); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("Unlock of a broken lock: %v", err)
			}
			held = mustLock(t, c)
			unlocks(t, other, held.ID)
			later := mustLock(t, other)
			isHeld(t, "Unlock of a broken lock", c.Unlock(t.Context(), "default", held.ID), later.ID)
			heldBy(t, c, later.ID)
			unlocks(t, other, later.ID)
		})
	}
}

// heads has change at the head of each reply.
func (w wire) heads(change func(http.Header)) {
	w.objects.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		reply := httptest.NewRecorder()
		forward.ServeHTTP(reply, r)
		maps.Copy(w.Header(), reply.Result().Header)
		change(w.Header())
		w.WriteHeader(reply.Code)
		io.Copy(w, bytes.NewReader(reply.Body.Bytes()))
	})
}

// hurried makes a server's clock, as the client sees it, ten minutes fast while on.
func hurried(w wire) (on *atomic.Bool) {
	on = new(atomic.Bool)
	w.heads(func(h http.Header) {
		if now, err := http.ParseTime(h.Get("Date")); err == nil && on.Load() {
			h.Set("Date", now.Add(10*time.Minute).Format(http.TimeFormat))
		}
	})
	return on
}

// TestNoAge has a proxy drop what tells the age of a lock: it has not expired.
func TestNoAge(t *testing.T) {
	for _, header := range []string{"Last-Modified", "Date"} {
		t.Run(header, func(t *testing.T) {
			n := setup{objects: versitygw, file: true}.open(t)
			info := lock.NewInfo("test")
			info.TTL = time.Minute
			held, err := n.client(t, wire{}).Lock(t.Context(), "default", info)
			if err != nil {
				t.Fatal(err)
			}
			w := n.wire(t)
			w.heads(func(h http.Header) { h[header] = nil })
			c := n.client(t, w)
			heldBy(t, c, held.ID)
			refuses(t, c, held.ID)
			unlocks(t, c, held.ID)
		})
	}
}

// TestTakeover has an expired lock taken over, against a renewal and against another.
func TestTakeover(t *testing.T) {
	ctx := t.Context()
	info := func() lock.Info {
		i := lock.NewInfo("test")
		i.TTL = time.Minute
		return i
	}
	for name, s := range map[string]setup{"conforming": {objects: versitygw, file: true}, "found out": {objects: minio, file: true}} {
		type game struct {
			*namespace
			holder, taker *client
			held          lock.Info
			before, after wire         // of the holder, and of the taker
			fast          *atomic.Bool // the clock that the taker sees
		}
		open := func(t *testing.T) game {
			g := game{namespace: s.open(t)}
			g.before, g.after = g.wire(t), g.wire(t)
			g.holder, g.taker, g.fast = g.client(t, g.before), g.client(t, g.after), hurried(g.after)
			var err error
			if g.held, err = g.holder.Lock(ctx, "default", info()); err != nil {
				t.Fatal(err)
			}
			refuses(t, g.taker, g.held.ID)
			g.fast.Store(true)
			return g
		}
		take := func(t *testing.T, g game) lock.Info {
			t.Helper()
			later, err := g.taker.Lock(ctx, "default", info())
			if err != nil {
				t.Error(err)
			}
			g.fast.Store(false)
			return later
		}
		t.Run(name+"/expired", func(t *testing.T) {
			g := open(t)
			heldBy(t, g.taker, "")
			later := take(t, g)
			heldBy(t, g.holder, later.ID)
			_, err := g.holder.Renew(ctx, "default", g.held.ID)
			isHeld(t, "Renew", err, later.ID)
			isHeld(t, "Unlock", g.holder.Unlock(ctx, "default", g.held.ID), later.ID)
			unlocks(t, g.taker, later.ID)
		})
		t.Run(name+"/renewed before the takeover", func(t *testing.T) {
			g := open(t)
			old, _ := g.lockFile(t)
			g.after.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Nth: 2, Fault: faultproxy.Before(func(*http.Request) {
				if got, err := g.holder.Renew(ctx, "default", g.held.ID); err != nil || got != g.held {
					t.Errorf("Renew: got %+v, %v, want %+v", got, err, g.held)
				}
				g.fast.Store(false)
			})})
			refuses(t, g.taker, g.held.ID)
			if now, _ := g.lockFile(t); now == old { // equal bytes would have an equal ETag
				t.Error("the renewal left the bytes as they were")
			}
			unlocks(t, g.holder, g.held.ID)
		})
		t.Run(name+"/taken over before the renewal", func(t *testing.T) {
			g := open(t)
			var later lock.Info
			g.before.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Fault: faultproxy.Before(func(*http.Request) { later = take(t, g) })})
			_, err := g.holder.Renew(ctx, "default", g.held.ID)
			isHeld(t, "Renew", err, later.ID)
			heldBy(t, g.holder, later.ID)
		})
		t.Run(name+"/taken over by two", func(t *testing.T) {
			g := open(t)
			w := g.wire(t)
			second, fast := g.client(t, w), hurried(w)
			fast.Store(true)
			var later lock.Info
			w.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Nth: 2, Fault: faultproxy.Before(func(*http.Request) {
				later = take(t, g)
				fast.Store(false)
			})})
			_, err := second.Lock(ctx, "default", info())
			isHeld(t, "Lock", err, later.ID)
			heldBy(t, second, later.ID)
		})
	}
}

// TestRenewedInBetween has another renewal of the same lock arrive between the GET and
// the PUT of a Renew, once and always.
func TestRenewedInBetween(t *testing.T) {
	for name, s := range map[string]setup{"conforming": {objects: versitygw, file: true}, "found out": {objects: minio, file: true}} {
		for times, want := range map[int]error{1: nil, faultproxy.Always: lock.ErrTransient} {
			t.Run(fmt.Sprint(name, "/", times), func(t *testing.T) {
				n := s.open(t)
				other := n.client(t, wire{})
				info := lock.NewInfo("test")
				info.TTL = time.Minute
				held, err := other.Lock(t.Context(), "default", info)
				if err != nil {
					t.Fatal(err)
				}
				w := n.wire(t)
				w.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Times: times, Fault: faultproxy.Before(func(*http.Request) {
					if _, err := other.Renew(t.Context(), "default", held.ID); err != nil {
						t.Error(err)
					}
				})})
				got, err := n.client(t, w).Renew(t.Context(), "default", held.ID)
				if !errors.Is(err, want) || errors.As(err, new(*lock.HeldError)) || err == nil && got != held {
					t.Errorf("Renew: got %+v, %v, want %v", got, err, want)
				}
				unlocks(t, other, held.ID)
			})
		}
	}
}
