package s3_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/statelatch/statelatch/backend"
)

// allocated returns all the heap that f allocates, which its peak cannot exceed.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestMemory: a state is held once, when it is read, and not at all when it is
// written.
func TestMemory(t *testing.T) {
	const size = 100 << 20
	n := setup{objects: minio, file: true}.open(t)
	b := n.client(t, wire{})
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(data)
	var rev backend.Revision
	var err error
	b.Write(t.Context(), "w", []byte("first"), backend.Condition{}) // finds out about the endpoint
	write := allocated(func() { rev, err = b.Write(t.Context(), "w", data, backend.Condition{Revision: backend.AnyRevision}) })
	if err != nil {
		t.Fatal(err)
	}
	var st backend.State
	read := allocated(func() { st, err = b.Read(t.Context(), "w") })
	if err != nil || st.Revision != rev || !bytes.Equal(st.Data, data) {
		t.Fatalf("read %d bytes at %q, %v", len(st.Data), st.Revision, err)
	}
	t.Logf("of a state of %d bytes a write allocates %.3f times as much, a read %.3f", size, float64(write)/size, float64(read)/size)
	if write > size/20 {
		t.Errorf("writing %d bytes allocates %d", size, write)
	}
	if read > size*12/10 {
		t.Errorf("reading %d bytes allocates %d", size, read)
	}
}
