//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/statefile"
)

var minio = testservice.New(testservice.MinIO)

// A bucket is one on MinIO, behind a proxy.
type bucket struct {
	name   string
	client *s3.Client
	proxy  *faultproxy.Proxy
}

func newBucket(t *testing.T) *bucket {
	server := minio.Start(t)
	for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_PROFILE"} { // the caller's own
		t.Setenv(name, "")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	client := s3.New(s3.Options{
		BaseEndpoint: &server.Endpoint, Region: server.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	name := testservice.Name(t)
	if _, err := client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return &bucket{name, client, faultproxy.New(t, server.Endpoint)}
}

func (b *bucket) url(endpoint string) string {
	query := url.Values{
		"region": {"us-east-1"}, "endpoints.s3": {endpoint}, "use_path_style": {"true"}, "use_lockfile": {"true"},
	}
	return "s3://" + b.name + "/terraform.tfstate?" + query.Encode()
}

// keys lists the objects.
func (b *bucket) keys(t *testing.T) (keys []string) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	return keys
}

// broken lets a few of a hundred requests fail before or after they were applied.
func broken(perHundred int64) faultproxy.Middleware {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		n, err := rand.Int(rand.Reader, big.NewInt(100*3/perHundred))
		if err != nil {
			panic(err)
		}
		switch n.Int64() {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			forward.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		default:
			forward.ServeHTTP(w, r)
		}
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// TestCopyKilled copies 1,000 workspaces to S3 through a network that breaks, in a
// process that is killed in the middle, again and again, and then left in peace.
func TestCopyKilled(t *testing.T) {
	const count = 1000
	b := newBucket(t)
	w := newWorld(t)
	source, destination := "local:src.tfstate?workspace_dir=src", b.url(b.proxy.URL())
	want := map[string]string{}
	for i := range count {
		name := fmt.Sprintf("ws-%04d", i)
		want[name] = state(i+2, statefile.NewLineage(), true)
		put(t, filepath.Join("src", name, "terraform.tfstate"), want[name])
	}
	to, err := all.Mux().OpenURL(t.Context(), b.url(aws.ToString(b.client.Options().BaseEndpoint)))
	if err != nil {
		t.Fatal(err)
	}
	newer := prepare(t, to, want)

	var writes atomic.Int64
	b.proxy.Use(func(rw http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == http.MethodPut {
			writes.Add(1)
		}
		forward.ServeHTTP(rw, r)
	})
	b.proxy.Use(broken(3))
	resumed := false
	for _, after := range []int64{150, 500, 300} { // PUT requests: locks and states
		writes.Store(0)
		cmd := w.process("copy", source, destination)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for killed := false; !killed; {
			select {
			case err := <-ended:
				t.Fatalf("it ended before it was killed: %v: %s", err, &out)
			default:
			}
			if writes.Load() >= after {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				<-ended
				killed = true
			}
		}
		locks := slices.DeleteFunc(b.keys(t), func(key string) bool { return !strings.HasSuffix(key, ".tflock") })
		t.Logf("killed after %d PUT requests; it leaves %d locks", writes.Load(), len(locks))
		resumed = resumed || len(locks) > 0
	}
	if !resumed {
		t.Error("no run has left a lock: the test shows nothing")
	}
	report := copyToTheEnd(t, w, source, destination, len(newer))
	t.Logf("in the end: %d copied, %d equal, %d failed", report.Copied, report.Equal, report.Failed)

	for _, key := range b.keys(t) {
		if strings.HasSuffix(key, ".tflock") {
			t.Errorf("lock %s is left", key)
		}
	}
	for name := range newer {
		want[name] = newer[name]
	}
	for name, data := range want {
		got, err := to.Read(t.Context(), name)
		if err != nil || string(got.Data) != data {
			t.Errorf("%s: %d bytes, %v, which are not those of the source", name, len(got.Data), err)
		}
	}
	if entries, err := filepath.Glob(".cache/statelatch/*"); err != nil || len(entries) == 0 {
		t.Errorf("no journal: %v, %v", entries, err)
	}
}

// prepare puts states where the copy goes: older ones, and newer ones, which it returns.
func prepare(t *testing.T, to backend.Backend, want map[string]string) map[string]string {
	t.Helper()
	newer := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("ws-%04d", i*37)
		header, err := statefile.ReadHeader([]byte(want[name]))
		if err != nil {
			t.Fatal(err)
		}
		data := state(int(header.Serial)-1, header.Lineage, true)
		if i%2 == 0 {
			data = state(int(header.Serial)+1, header.Lineage, true)
			newer[name] = data
		}
		if _, err := to.Write(t.Context(), name, []byte(data), backend.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	return newer
}

// copyToTheEnd repeats a copy until nothing fails but what has to.
func copyToTheEnd(t *testing.T, w *world, source, destination string, refused int) copied {
	t.Helper()
	for range 6 {
		cmd := w.process("copy", source, destination, "--json")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // it fails, since some are newer
		var report copied
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatalf("%v: %s%s", err, &out, &errs)
		}
		if report.Failed == refused {
			if code := cmd.ProcessState.ExitCode(); code != exitConflict {
				t.Errorf("exit code %d: %s", code, &errs)
			}
			return report
		}
		for _, one := range report.Workspaces {
			if one.Error != nil && one.Error.Kind != "conflict" {
				t.Logf("%s: %s", one.Name, one.Error.Message)
			}
		}
	}
	t.Fatal("it fails again and again")
	return copied{}
}

// TestCopyBreaksItsOwn: of the locks that are in the way, a resumed copy breaks those
// that its dead run has left, and no others, on either side.
func TestCopyBreaksItsOwn(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	src, dst := w.stores.get("src").memory, w.stores.get("dst").memory
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		if _, err := src.Write(ctx, name, []byte(state(4, lineage, true)), backend.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	from, _ := placeOf("test:src", nil)
	to, _ := placeOf("test:dst", nil)
	// A run that is killed: it has entered itself, and taken locks.
	journal, err := openJournal(ctx, "", from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	take := func(b lock.Locker, name, run string) {
		t.Helper()
		info := lock.NewInfo("copy")
		info.Info = "statelatch copy, run " + run
		if _, err := b.Lock(ctx, name, info); err != nil {
			t.Fatal(err)
		}
	}
	take(src, "a", journal.Run)
	take(dst, "b", journal.Run)
	take(dst, "c", "ANOTHERRUNOFANOTHERMACHINE")
	if code, _, stderr := w.statelatch("", "copy", "test:src", "test:dst"); code != exitHeld || !strings.Contains(stderr, "being made already, by ") || strings.Contains(stderr, "default") {
		t.Errorf("a second run beside the first: exit code %d: %s", code, stderr)
	}
	if _, err := dst.Write(ctx, "b", []byte(state(4, lineage, true)), backend.Condition{Revision: "x"}); err == nil {
		t.Error("the lock of a run is no lock")
	}
	journal.Abandon()

	code, stdout, stderr := w.statelatch("", "copy", "test:src", "test:dst")
	if code != exitHeld || !strings.Contains(stdout, "3 copied, 0 equal, 0 empty, 1 failed") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if info, err := dst.Holder(ctx, "c"); err != nil {
		t.Errorf("the lock of another run was broken: %v, %v", info, err)
	}
	for _, name := range []string{"a", "b", "d"} {
		w.mustBeFree(t, "test:src", name)
		w.mustBeFree(t, "test:dst", name)
	}
	if info, _ := dst.Holder(ctx, "c"); dst.Unlock(ctx, "c", info.ID) != nil {
		t.Error("unlock")
	}
	// What is equal is looked at too, until the dead run is forgotten.
	take(dst, "a", journal.Run)
	if out := w.ok("copy", "test:src", "test:dst"); !strings.Contains(out, "Resumed") || !strings.Contains(out, "1 copied, 3 equal") {
		t.Errorf("%s", out)
	}
	w.mustBeFree(t, "test:dst", "a")
	if out := w.ok("copy", "test:src", "test:dst"); strings.Contains(out, "Resumed") {
		t.Errorf("the dead run is not forgotten: %s", out)
	}
}

// TestCopyVerifies: what reads back otherwise than it was written is a failure.
func TestCopyVerifies(t *testing.T) {
	w := newWorld(t)
	w.mux = backend.NewMux(memory.Driver, backend.NewDriver(func(context.Context, struct{}) (backend.Backend, error) {
		return forgetful{w.stores.get("dst").memory}, nil
	}, "forgetful"), backend.NewDriver(func(context.Context, struct{}) (backend.Backend, error) {
		return w.stores.get("src").memory, nil
	}, "src"))
	if _, err := w.stores.get("src").memory.Write(t.Context(), "a", []byte(state(4, lineage, true)), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := w.statelatch("", "copy", "src:", "forgetful:")
	if code != exitFailed || !strings.Contains(stdout, "reads back with digest") || !strings.Contains(stdout, "0 copied") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

// forgetful stores the beginning of what it is given.
type forgetful struct{ *memory.Backend }

func (f forgetful) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	return f.Backend.Write(ctx, workspace, data[:len(data)/2], cond)
}
