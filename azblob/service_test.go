package azblob_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

func properties(t testing.TB, b *blockblob.Client) blob.GetPropertiesResponse {
	t.Helper()
	p, err := b.GetProperties(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAssumptions checks what the package takes for granted of the service.
func TestAssumptions(t *testing.T) {
	b := newNamespace(t, false).blob(t, ws)
	ctx := t.Context()
	upload(t, b, "state", map[string]*string{"owner": new("me")})
	before := properties(t, b)
	if sum := md5.Sum([]byte("state")); !bytes.Equal(before.ContentMD5, sum[:]) {
		t.Error("it does not keep the MD5 of a Put Blob")
	}
	if before.Metadata["Owner"] == nil {
		t.Errorf("it keeps the case of metadata: %v", before.Metadata)
	}
	l, err := lease.NewBlobClient(b, &lease.BlobClientOptions{LeaseID: new(lock.NewID())})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time with the ID that holds it
		if _, err := l.AcquireLease(ctx, -1, nil); err != nil {
			t.Errorf("acquire: %v", err)
		}
	}
	if now := properties(t, b); *now.ETag != *before.ETag || *now.LeaseStatus != lease.StatusTypeLocked {
		t.Error("a lease changes the ETag")
	}
	wrong := &lease.ModifiedAccessConditions{IfMatch: new(*before.ETag + "x")}
	_, errRelease := l.ReleaseLease(ctx, &lease.BlobReleaseOptions{ModifiedAccessConditions: wrong})
	_, errBreak := l.BreakLease(ctx, &lease.BlobBreakOptions{ModifiedAccessConditions: wrong})
	for _, err := range []error{errRelease, errBreak} {
		if !bloberror.HasCode(err, bloberror.ConditionNotMet) {
			t.Errorf("on another ETag: %v", err)
		}
	}
	if _, err := l.ReleaseLease(ctx, nil); err != nil {
		t.Error(err)
	}
	if _, err := l.AcquireLease(ctx, -1, &lease.BlobAcquireOptions{ModifiedAccessConditions: wrong}); !bloberror.HasCode(err, bloberror.ConditionNotMet) {
		t.Errorf("acquire on another ETag: %v", err)
	}
	if now := properties(t, b); *now.ETag != *before.ETag {
		t.Error("a release changes the ETag")
	}
	unmodified, err := b.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: before.ETag}}})
	if err != nil || unmodified.ErrorCode == nil {
		t.Errorf("a download of what has not changed: error %v, code %v; it used to be nil, which is why we make none", err, unmodified.ErrorCode)
	}
	setMetadata(t, b, "", nil)
	if now := properties(t, b); *now.ETag == *before.ETag || !bytes.Equal(now.ContentMD5, before.ContentMD5) {
		t.Error("Set Metadata leaves the ETag, or changes the MD5")
	}
}

// TestMetadataOfOthers: what others keep on the blob survives all that we do.
func TestMetadataOfOthers(t *testing.T) {
	n := newNamespace(t, false)
	b, c := n.blob(t, ws), n.client(t, nil)
	upload(t, b, "old", map[string]*string{"owner": new("me, myself & I")})
	check := func(after, info string) {
		t.Helper()
		meta := map[string]string{}
		for key, value := range properties(t, b).Metadata {
			meta[strings.ToLower(key)] = *value
		}
		record, err := base64.StdEncoding.DecodeString(meta["terraformlockid"])
		if err != nil {
			t.Fatal(err)
		}
		if got := lock.ParseInfo(record, "").Info; meta["owner"] != "me, myself & I" || got != info {
			t.Errorf("after %s the metadata is %v, with record %s", after, meta, record)
		}
	}
	held, err := c.Lock(t.Context(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	check("Lock", "")
	st, err := c.Read(t.Context(), ws)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := c.Write(t.Context(), ws, []byte("new"), backend.Condition{Revision: st.Revision, LockID: held.ID})
	if err != nil {
		t.Fatal(err)
	}
	check("Write", "")
	if err := c.Delete(t.Context(), ws, backend.Condition{Revision: rev, LockID: held.ID}); err != nil {
		t.Fatal(err)
	}
	check("Delete", "")
	if err := n.client(t, nil).Unlock(t.Context(), ws, held.ID); err != nil {
		t.Fatal(err)
	}
	check("Unlock", "released")
}

// TestRecord: the lock's record is Terraform's, byte for byte, but for the TTL and Ref.
func TestRecord(t *testing.T) {
	n := newNamespace(t, false)
	held, err := n.client(t, nil).Lock(t.Context(), "prod", lock.NewInfo("OperationTypeApply"))
	if err != nil {
		t.Fatal(err)
	}
	p := properties(t, n.blob(t, "prod"))
	record, err := base64.StdEncoding.DecodeString(*p.Metadata["Terraformlockid"])
	if err != nil {
		t.Fatal(err)
	}
	want, err := held.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if string(record) != string(want) || held.Path != box+"/"+n.key+"env:prod" {
		t.Errorf("the record is %s, and we hold %s", record, want)
	}
	if *p.ContentLength != 0 || *p.ContentType != "application/json" || *p.LeaseDuration != lease.DurationTypeInfinite {
		t.Errorf("the blob has %d bytes of %s, and a lease that is %s", *p.ContentLength, *p.ContentType, *p.LeaseDuration)
	}
}

// TestBrokenInMidWrite breaks the lease while a write is under way.
func TestBrokenInMidWrite(t *testing.T) {
	for _, retaken := range []bool{false, true} {
		n := newNamespace(t, false)
		other := n.client(t, nil)
		rev, err := other.Write(t.Context(), ws, []byte("old"), backend.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		var next lock.Info
		p := n.proxy(t, faultproxy.Rule{
			Match: func(r *http.Request) bool { return r.Method == "PUT" && r.URL.Query().Get("comp") == "" },
			Fault: faultproxy.Before(func(*http.Request) {
				holder, err := other.Holder(context.Background(), ws)
				if err == nil {
					err = other.Unlock(context.Background(), ws, holder.ID)
				}
				if err == nil && retaken {
					next, err = other.Lock(context.Background(), ws, lock.NewInfo("next"))
				}
				if err != nil {
					t.Error(err)
				}
			}),
		})
		c := n.client(t, p)
		held, err := c.Lock(t.Context(), ws, lock.NewInfo("test"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write(t.Context(), ws, []byte("new"), backend.Condition{Revision: rev, LockID: held.ID})
		var by *lock.HeldError
		switch {
		case errors.Is(err, backend.ErrConflict):
			t.Errorf("a lost lock is no conflict: %v", err)
		case retaken && (!errors.As(err, &by) || by.Holder.ID != next.ID):
			t.Errorf("got error %v, want a *HeldError with ID %s", err, next.ID)
		case !retaken && !errors.Is(err, lock.ErrNotHeld):
			t.Errorf("got error %v, want ErrNotHeld", err)
		}
		if st, err := other.Read(t.Context(), ws); err != nil || string(st.Data) != "old" {
			t.Errorf("the state is %q (%v)", st.Data, err)
		}
	}
}

func TestSnapshot(t *testing.T) {
	n := newNamespace(t, false)
	c := n.client(t, nil, func(c *azblob.Config) { c.Snapshot = true })
	held, err := c.Lock(t.Context(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	cond := backend.Condition{LockID: held.ID}
	for _, data := range []string{"one", "two", "three"} {
		if cond.Revision, err = c.Write(t.Context(), ws, []byte(data), cond); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Unlock(t.Context(), ws, held.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), ws, backend.Condition{Revision: cond.Revision}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), "new", []byte("x"), backend.Condition{Revision: backend.AnyRevision}); err != nil {
		t.Errorf("Write where there is nothing to keep: %v", err)
	}
	var kept []string
	pages := vendor(t, n.server, box).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &n.key, Include: container.ListBlobsInclude{Snapshots: true}})
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			if item.Snapshot == nil || *item.Snapshot == "" {
				continue
			}
			old, err := n.blob(t, ws).WithSnapshot(*item.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			reply, err := old.DownloadStream(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(reply.Body)
			reply.Body.Close()
			kept = append(kept, string(data))
		}
	}
	if want := []string{"one", "two", "three"}; !slices.Equal(kept, want) {
		t.Errorf("the snapshots are %q, want %q", kept, want)
	}
}

// TestWithoutMD5: the service keeps none of what was stored in blocks.
func TestWithoutMD5(t *testing.T) {
	n := newNamespace(t, false)
	b, c := n.blob(t, ws), n.client(t, nil)
	id := base64.StdEncoding.EncodeToString([]byte("block"))
	if _, err := b.StageBlock(t.Context(), id, streaming.NopCloser(strings.NewReader("state")), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CommitBlockList(t.Context(), []string{id}, nil); err != nil {
		t.Fatal(err)
	}
	if p := properties(t, b); len(p.ContentMD5) != 0 {
		t.Fatal("the service keeps an MD5")
	}
	rev, err := c.Stat(t.Context(), ws)
	if err != nil {
		t.Fatal(err)
	}
	st, err := n.client(t, nil).Read(t.Context(), ws)
	if err != nil || st.Revision != rev {
		t.Errorf("Read: revision %q, error %v; Stat: %q", st.Revision, err, rev)
	}
	if _, err := c.Write(t.Context(), ws, []byte("new"), backend.Condition{Revision: rev}); err != nil {
		t.Error(err)
	}
}

// TestDamaged: the content is not what the service's MD5 says.
func TestDamaged(t *testing.T) {
	n := newNamespace(t, false)
	b, c := n.blob(t, ws), n.client(t, nil)
	upload(t, b, "state", nil)
	sum := md5.Sum([]byte("another"))
	if _, err := b.SetHTTPHeaders(t.Context(), blob.HTTPHeaders{BlobContentMD5: sum[:]}, nil); err != nil {
		t.Fatal(err)
	}
	st, err := c.Read(t.Context(), ws)
	if !errors.Is(err, backend.ErrCorrupt) || string(st.Data) != "state" {
		t.Errorf("Read: %q, %v; want the state with ErrCorrupt", st.Data, err)
	}
	if _, err := c.Write(t.Context(), ws, []byte("mended"), backend.Condition{Revision: st.Revision}); err != nil {
		t.Errorf("Write over it: %v", err)
	}
	if st, err := c.Read(t.Context(), ws); err != nil || string(st.Data) != "mended" {
		t.Errorf("Read: %q, %v", st.Data, err)
	}
}
