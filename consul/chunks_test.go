package consul_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
)

// noise does not compress.
func noise(seed byte, size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// An index is what Terraform puts in the place of a state in chunks.
type index struct {
	Chunks []string `json:"chunks"`
	Hash   string   `json:"current-hash"`
}

// terraformStores stores a state in chunks, under the names that Terraform gives them.
func (n *namespace) terraformStores(t testing.TB, data, stored []byte) {
	t.Helper()
	idx := index{Hash: fmt.Sprintf("%x", md5.Sum(data))}
	for part := range slices.Chunk(stored, 512<<10) {
		key := fmt.Sprintf("%s/tfstate.%s/%d", n.config.Path, idx.Hash, len(idx.Chunks))
		n.put(t, key, part)
		idx.Chunks = append(idx.Chunks, key)
	}
	value, err := json.Marshal(idx)
	if err != nil {
		t.Fatal(err)
	}
	n.put(t, n.config.Path, value)
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(data)
	w.Flush()
	w.Close()
	return out.Bytes()
}

func unzip(t testing.TB, stored []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What Terraform writes in each format is read whatever the settings say, replaced,
// and none of it stays.
func TestReadsAllFormats(t *testing.T) {
	large := noise(1, 1300<<10)
	for name, store := range map[string]func(*namespace){
		"plain":           func(n *namespace) { n.put(t, n.config.Path, large[:1000]) },
		"gzip":            func(n *namespace) { n.put(t, n.config.Path, zip(t, large[:1000])) },
		"chunks":          func(n *namespace) { n.terraformStores(t, large, large) },
		"chunks of gzip":  func(n *namespace) { n.terraformStores(t, large, zip(t, large)) },
		"a single chunk":  func(n *namespace) { n.terraformStores(t, large[:1000], large[:1000]) },
		"as large as can": func(n *namespace) { n.put(t, n.config.Path, large[:512<<10]) },
	} {
		for _, gzip := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, gzip = %v", name, gzip), func(t *testing.T) {
				t.Parallel()
				n := open(t)
				store(n)
				b := n.client(t, func(c *consul.Config) { c.GZIP = gzip })
				st := mustRead(t, b)
				if !bytes.HasPrefix(large, st.Data) || len(st.Data) < 1000 {
					t.Fatalf("got %d other bytes", len(st.Data))
				}
				mustWrite(t, b, []byte("next"), condition(st.Revision))
				if left := n.below(t, n.config.Path); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
	}
}

// What we write has Terraform's form in each format.
func TestWritesTerraformsFormats(t *testing.T) {
	n := open(t)
	plain, zipped := n.client(t), n.client(t, gzipped)
	small, large := []byte(`{"version": 4}`), noise(2, 1300<<10)

	rev := mustWrite(t, plain, small, backend.Condition{})
	if got := n.get(t, n.config.Path).Value; !bytes.Equal(got, small) {
		t.Errorf("plain: %q", got)
	}
	rev = mustWrite(t, zipped, small, condition(rev))
	if got := n.get(t, n.config.Path).Value; !bytes.Equal(got, zip(t, small)) {
		t.Errorf("gzip: %q", got)
	}
	for name, b := range map[string]*consul.Backend{"plain": plain, "gzip": zipped} {
		rev = mustWrite(t, b, large, condition(rev))
		value := n.get(t, n.config.Path).Value
		var idx index
		if err := json.Unmarshal(value, &idx); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(idx); !bytes.Equal(again, value) {
			t.Errorf("%s: other members or another order: %s", name, value)
		}
		if want := fmt.Sprintf("%x", md5.Sum(large)); idx.Hash != want {
			t.Errorf("%s: hash %s, want %s", name, idx.Hash, want)
		}
		var stored []byte
		form := regexp.MustCompile(regexp.QuoteMeta(n.config.Path+"/tfstate."+idx.Hash+"/") + `[A-Z2-7]{26}/\d`)
		for i, key := range idx.Chunks {
			chunk := n.get(t, key)
			if !form.MatchString(key) || !strings.HasSuffix(key, fmt.Sprint("/", i)) || i < len(idx.Chunks)-1 && len(chunk.Value) != 512<<10 {
				t.Errorf("%s: chunk %d is %q, of %d bytes", name, i, key, len(chunk.Value))
			}
			stored = append(stored, chunk.Value...)
		}
		if name == "gzip" {
			stored = unzip(t, stored)
		}
		if !bytes.Equal(stored, large) {
			t.Errorf("%s: other bytes in the chunks", name)
		}
		if all := n.chunks(t); len(all) != len(idx.Chunks) {
			t.Errorf("%s: chunks of both: %q", name, all)
		}
	}
}

// A state that looks like another format than its own comes back as it was.
func TestLookAlikes(t *testing.T) {
	n := open(t)
	b := n.client(t)
	for _, data := range []string{
		`{"chunks":[],"current-hash":"0"}`, ` {"chunks": ["x"], "current-hash": "y"}`, "\x1f", string(zip(t, []byte("x"))),
		`{"a": {"current-hash": "x"}}`, `{"current-hash": ""}`, `{"current-hash": 1}`, "\x1f" + string(noise(3, 600<<10)),
	} {
		mustWrite(t, b, []byte(data), condition(backend.AnyRevision))
		if got := mustRead(t, b).Data; string(got) != data {
			t.Errorf("wrote %.40q, read %.40q", data, got)
		}
	}
}

// Sizes around what one transaction takes are written and read, by ourselves and
// whatever the name of the workspace.
func TestSizesAroundTheLimit(t *testing.T) {
	n := open(t)
	b := n.client(t)
	long := strings.Repeat("n", 200)
	const limit = (512 - 8) << 10 / 4 * 3
	for by := -1; by <= 1; by++ {
		data := noise(4, limit+by)
		rev, err := b.Write(t.Context(), long, data, condition(backend.AnyRevision))
		if err != nil {
			t.Fatal(err)
		}
		held, err := b.Lock(t.Context(), long, infoOf("test"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), long, data, backend.Condition{Revision: rev, LockID: held.ID}); err != nil {
			t.Fatal(err)
		}
		if st, err := b.Read(t.Context(), long); err != nil || !bytes.Equal(st.Data, data) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
		if err := b.Unlock(t.Context(), long, held.ID); err != nil {
			t.Error(err)
		}
	}
}

// Damage is reported, with what can be read.
func TestDamage(t *testing.T) {
	large := noise(5, 1300<<10)
	for name, test := range map[string]struct {
		damage func(n *namespace)
		data   []byte
	}{
		"chunk gone":      {func(n *namespace) { n.raw.KV().Delete(n.config.Path+"/"+n.chunks(t)[1], nil) }, large[:512<<10]},
		"chunk changed":   {func(n *namespace) { n.put(t, n.config.Path+"/"+n.chunks(t)[2], []byte("x")) }, append(slices.Clone(large[:1<<20]), 'x')},
		"no gzip":         {func(n *namespace) { n.put(t, n.config.Path, []byte("\x1f\x8b rubbish")) }, []byte("\x1f\x8b rubbish")},
		"gzip cut short":  {func(n *namespace) { n.put(t, n.config.Path, zip(t, large)[:1000]) }, zip(t, large)[:1000]},
		"gzip of nothing": {func(n *namespace) { n.put(t, n.config.Path, zip(t, nil)) }, nil},
		"chunks of nothing": {func(n *namespace) {
			n.put(t, n.config.Path, []byte(`{"chunks":[],"current-hash":"d41d8cd98f00b204e9800998ecf8427e"}`))
		}, nil},
		"foreign chunk": {func(n *namespace) {
			n.put(t, n.config.Path, fmt.Appendf(nil, `{"chunks":[%q],"current-hash":"x"}`, n.config.Path+"-env:other"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t)
			b := n.client(t)
			n.put(t, n.config.Path+"-env:other", []byte("theirs"))
			mustWrite(t, b, large, backend.Condition{})
			test.damage(n)
			st, err := b.Read(t.Context(), ws)
			if !errors.Is(err, backend.ErrCorrupt) || !bytes.Equal(st.Data, test.data) || st.Revision == "" {
				t.Errorf("%d bytes (want %d), revision %q: %v", len(st.Data), len(test.data), st.Revision, err)
			}
			// It can be replaced, and nobody else's key goes with it.
			rev := mustWrite(t, b, []byte("mended"), condition(st.Revision))
			if diff := cmp.Diff(backend.State{Data: []byte("mended"), Revision: rev}, mustRead(t, b)); diff != "" {
				t.Error(diff)
			}
			if n.get(t, n.config.Path+"-env:other") == nil {
				t.Error("another's key was deleted")
			}
		})
	}
}

// A reader whose chunks are replaced while it reads, reads what replaced them.
func TestReaderLosesARace(t *testing.T) {
	n := open(t)
	direct := n.client(t)
	rev := mustWrite(t, direct, noise(6, 1300<<10), backend.Condition{})
	b, p := n.proxied(t)
	next := noise(7, 1300<<10)
	h := p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.Before(func(*http.Request) {
		mustWrite(t, direct, next, condition(rev))
	})})
	if st := mustRead(t, b); h.Applied() != 1 || !bytes.Equal(st.Data, next) {
		t.Errorf("read %d other bytes", len(st.Data))
	}
}

// While we replace a state in chunks, Terraform brings it back, under the same
// names: what lives again stays.
func TestABA(t *testing.T) {
	a := noise(8, 1300<<10)
	back := func(n *namespace) func(*http.Request) {
		return func(*http.Request) { n.terraformStores(t, a, a) }
	}
	for name, rule := range map[string]func(*namespace) faultproxy.Rule{
		"after it was replaced": func(n *namespace) faultproxy.Rule {
			return faultproxy.Rule{Match: txns, Fault: faultproxy.After(back(n))}
		},
		"just before its chunks go": func(n *namespace) faultproxy.Rule {
			return faultproxy.Rule{Match: txns, Nth: 2, Fault: faultproxy.Before(back(n))}
		},
		"by ours, after it was replaced": nil,
	} {
		for what, cond := range map[string]func(backend.Revision) backend.Condition{
			"its revision": condition,
			"any revision": func(backend.Revision) backend.Condition { return condition(backend.AnyRevision) },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				n := open(t)
				direct := n.client(t)
				b, p := n.proxied(t)
				if rule == nil {
					mustWrite(t, direct, a, backend.Condition{})
					p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.After(func(*http.Request) {
						mustWrite(t, direct, a, condition(backend.AnyRevision))
					})})
				} else {
					n.terraformStores(t, a, a)
					p.Add(rule(n))
				}
				st := mustRead(t, direct)
				mustWrite(t, b, []byte("b"), cond(st.Revision))
				if st := mustRead(t, direct); !bytes.Equal(st.Data, a) {
					t.Errorf("%d other bytes", len(st.Data))
				}
				if chunks := n.chunks(t); len(chunks) != 3 {
					t.Errorf("chunks: %q", chunks)
				}
			})
		}
	}
}

// A write that is refused leaves no chunks, and neither does a deletion.
func TestNoChunksLeft(t *testing.T) {
	n := open(t)
	b, p := n.proxied(t)
	large := noise(9, 1300<<10)
	// Another creates the state after we have looked.
	p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.Before(func(*http.Request) { n.put(t, n.config.Path, []byte("theirs")) })})
	if _, err := b.Write(t.Context(), ws, large, backend.Condition{}); !errors.Is(err, backend.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if left := n.chunks(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	p.Reset()
	if _, err := b.Write(t.Context(), ws, large, backend.Condition{}); !errors.Is(err, backend.ErrConflict) || p.Count(changes) > 0 {
		t.Errorf("got %v, after %d PUTs", err, p.Count(changes))
	}
	rev := mustWrite(t, b, large, condition(mustRead(t, b).Revision))
	if err := b.Delete(t.Context(), ws, condition(rev)); err != nil {
		t.Error(err)
	}
	if left := n.below(t, n.config.Path); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// An index must fit into one transaction too.
func TestIndexTooLarge(t *testing.T) {
	n := open(t)
	b := n.client(t, func(c *consul.Config) { c.Path += strings.Repeat("p", 100<<10) })
	_, err := b.Write(context.Background(), ws, noise(10, 3<<20), backend.Condition{})
	if !errors.Is(err, backend.ErrTooLarge) {
		t.Errorf("got %.200v", err)
	}
}

// A decompressed state is bounded too.
func TestGzipBomb(t *testing.T) {
	n := open(t)
	mustWrite(t, n.client(t, gzipped), make([]byte, 10<<20), backend.Condition{})
	_, err := n.client(t, func(c *consul.Config) { c.MaxSize = 1 << 20 }).Read(t.Context(), ws)
	if !errors.Is(err, backend.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
