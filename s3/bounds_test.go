package s3_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// lockFileSetups hold locks as files alone.
var lockFileSetups = map[string]setup{"conforming": {objects: versitygw, file: true}, "found out": {objects: minio, file: true}}

// TestLongRecord takes a lock whose record is as long as may be, which can be read,
// renewed and released, and none with one byte more.
func TestLongRecord(t *testing.T) {
	ctx := t.Context()
	for name, s := range lockFileSetups {
		for suffix, ttl := range map[string]time.Duration{"": 0, `,"Renewed":"` + rand.Text() + `"`: time.Minute} {
			t.Run(name+"/"+ttl.String(), func(t *testing.T) {
				n := s.open(t)
				c := n.client(t, wire{})
				info := lock.NewInfo("test")
				info.TTL, info.Path = ttl, place+"/"+n.config.Key
				record, err := json.Marshal(info)
				if err != nil {
					t.Fatal(err)
				}
				info.Path = "" // it is set by Lock
				info.Info = strings.Repeat("x", lock.MaxInfo-len(record)-len(suffix)+1)
				_, err = c.Lock(ctx, "default", info)
				wants(t, "Lock", err, backend.ErrInvalid)
				info.Info = info.Info[1:]
				held, err := c.Lock(ctx, "default", info)
				if err != nil {
					t.Fatal(err)
				}
				heldBy(t, c, held.ID)
				if got, err := c.Renew(ctx, "default", held.ID); err != nil || got != held {
					t.Errorf("Renew: %v", err)
				}
				heldBy(t, c, held.ID)
				unlocks(t, n.client(t, wire{}), held.ID)
			})
		}
	}
}

// TestLockIsNoState has a limit of a state that is below the length of any lock record.
func TestLockIsNoState(t *testing.T) {
	for name, s := range lockFileSetups {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			small := func(c *s3.Config) { c.MaxSize = 10 }
			c, other := n.client(t, wire{}, small), n.client(t, wire{}, small)
			info := lock.NewInfo("test")
			info.TTL = time.Minute
			held, err := c.Lock(t.Context(), "default", info)
			if err != nil {
				t.Fatal(err)
			}
			heldBy(t, other, held.ID)
			refuses(t, other, held.ID)
			if _, err := other.Renew(t.Context(), "default", held.ID); err != nil {
				t.Error(err)
			}
			unlocks(t, other, held.ID)
			w := n.wire(t)
			w.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Fault: faultproxy.CutAfter()})
			held = mustLock(t, n.client(t, w, small))
			unlocks(t, other, held.ID)
		})
	}
}

// TestHugeLock has a lock file that is no lock: it is not fetched, and can be broken.
func TestHugeLock(t *testing.T) {
	const size = 50 << 20
	n := setup{objects: minio, file: true}.open(t)
	c := n.client(t, wire{})
	n.put(t, n.config.Key+".tflock", strings.Repeat("x", size))
	var holder lock.Info
	var err error
	if got := allocated(func() { holder, err = c.Holder(t.Context(), "default") }); got > size/10 {
		t.Errorf("Holder allocates %d bytes", got)
	}
	if err != nil || !strings.HasPrefix(holder.ID, "unreadable-") || !strings.Contains(holder.Info, "it has more than 65536 bytes") {
		t.Fatalf("Holder: got %+v, %v", holder, err)
	}
	refuses(t, c, holder.ID)
	n.put(t, n.config.Key+".tflock", strings.Repeat("y", size))
	var held *lock.HeldError
	if err := c.Unlock(t.Context(), "default", holder.ID); !errors.As(err, &held) || held.Holder.ID == holder.ID {
		t.Fatalf("Unlock of the earlier: %v", err)
	}
	unlocks(t, c, held.Holder.ID)
	heldBy(t, c, "")
}

// TestRefusedAsTooLarge has somebody in between find a reply too large.
func TestRefusedAsTooLarge(t *testing.T) {
	n := setup{objects: minio, file: true}.open(t)
	w := n.wire(t)
	c := n.client(t, w)
	w.objects.Add(faultproxy.Rule{Match: faultproxy.Method("GET"), Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Status: 413})})
	if _, err := c.Holder(t.Context(), "default"); !errors.Is(err, backend.ErrTooLarge) {
		t.Errorf("Holder: %v", err)
	}
	w.objects.Add(faultproxy.Rule{Match: faultproxy.Method("PUT"), Fault: faultproxy.CutAfter()})
	if _, err := c.Write(t.Context(), "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision}); !errors.Is(err, backend.ErrUnknown) {
		t.Errorf("Write: %v", err)
	}
}
