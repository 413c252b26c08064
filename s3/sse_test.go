package s3_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

func customerKey() backend.Secret {
	key := make([]byte, 32)
	rand.Read(key)
	return backend.Secret(base64.StdEncoding.EncodeToString(key))
}

// work makes the calls that send or fetch an object: of a state and of a lock.
func work(t *testing.T, b *client) {
	t.Helper()
	ctx := t.Context()
	info, err := b.Lock(ctx, "w", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lock(ctx, "w", lock.NewInfo("another")); !errors.As(err, new(*lock.HeldError)) {
		t.Errorf("the holder is not seen: %v", err)
	}
	rev, err := b.Write(ctx, "w", []byte("state"), backend.Condition{LockID: info.ID})
	if err != nil {
		t.Fatal(err)
	}
	st, err := b.Read(ctx, "w")
	if err != nil || string(st.Data) != "state" || st.Revision != rev {
		t.Errorf("read %q at %q, %v; want the state at %q", st.Data, st.Revision, err, rev)
	}
	if got, err := b.Stat(ctx, "w"); err != nil || got != rev {
		t.Errorf("%q, %v; want %q", got, err, rev)
	}
	if holder, err := b.Holder(ctx, "w"); err != nil || holder.ID != info.ID {
		t.Errorf("held by %v, %v", holder, err)
	}
	if err := b.Unlock(ctx, "w", info.ID); err != nil {
		t.Error(err)
	}
}

// TestEncryption has MinIO, which really encrypts, keep states and locks.
func TestEncryption(t *testing.T) {
	key := customerKey()
	for name, change := range map[string]func(*s3.Config){
		"SSE-S3": func(c *s3.Config) { c.Encrypt = true },
		"SSE-C":  func(c *s3.Config) { c.Encrypt, c.SSECustomerKey = true, key },
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: minioTLS, file: true}.open(t)
			b := n.client(t, wire{}, change)
			work(t, b)
			objects, _ := n.sdk(t)
			head, err := objects.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(place), Key: aws.String(n.key("w"))})
			switch name {
			case "SSE-S3":
				if err != nil || head.ServerSideEncryption != "AES256" {
					t.Errorf("encrypted by %q, %v", head.ServerSideEncryption, err)
				}
			case "SSE-C":
				if err == nil {
					t.Error("the state can be looked at without the key")
				}
			}
			other := n.client(t, wire{}, func(c *s3.Config) { c.Encrypt, c.SSECustomerKey = true, customerKey() })
			_, err = other.Read(t.Context(), "w")
			if name == "SSE-C" && (!errors.Is(err, backend.ErrPermission) || !strings.Contains(err.Error(), "sse_customer_key")) {
				t.Errorf("with another key: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), string(key)) {
				t.Errorf("the key is in %v", err)
			}
		})
	}
}

// TestUnknownKMSKey has a key that the server does not know, which MinIO tells by a 404:
// it is no conflict, which would be tried again for ever.
func TestUnknownKMSKey(t *testing.T) {
	n := setup{objects: minioTLS, file: true}.open(t)
	c := n.client(t, wire{}, func(c *s3.Config) { c.Encrypt, c.KMSKeyID = true, "alias/nobody-s" })
	_, write := c.Write(t.Context(), "default", []byte("one"), backend.Condition{})
	_, locked := c.Lock(t.Context(), "default", lock.NewInfo("test"))
	for doing, err := range map[string]error{"Write": write, "Lock": locked} {
		wants(t, doing, err, backend.ErrInvalid)
		if !strings.Contains(fmt.Sprint(err), "setting kms_key_id") {
			t.Errorf("%s: the error does not name the setting: %v", doing, err)
		}
	}
}

// headers returns those of the requests that put, or that fetch, an object.
func headers(p *faultproxy.Proxy, method, suffix string) []http.Header {
	var all []http.Header
	for _, r := range p.Requests() {
		if r.Method == method && strings.HasSuffix(r.Path, suffix) {
			all = append(all, r.Header)
		}
	}
	return all
}

// TestHeaders looks at what is asked of a server for a state and for a lock file.
func TestHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		change          func(*s3.Config)
		state, lockFile map[string]string // of each PUT
	}{
		"ACL": {func(c *s3.Config) { c.ACL = "private" },
			map[string]string{"X-Amz-Acl": "private"}, map[string]string{"X-Amz-Acl": "private"}},
		"tags": {func(c *s3.Config) {
			c.StateTags, c.LockTags = map[string]string{"a": "1 2", "b": "x/y"}, map[string]string{"lock": "yes"}
		}, map[string]string{"X-Amz-Tagging": "a=1+2&b=x%2Fy"}, map[string]string{"X-Amz-Tagging": "lock=yes"}},
		"content type": {func(*s3.Config) {},
			map[string]string{"Content-Type": "application/json"}, map[string]string{"Content-Type": "application/json"}},
		"SSE-S3": {func(c *s3.Config) { c.Encrypt = true },
			map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: minio, file: true}.open(t)
			w := n.wire(t)
			work(t, n.client(t, w, test.change))
			for suffix, want := range map[string]map[string]string{"/terraform.tfstate": test.state, ".tflock": test.lockFile} {
				puts := headers(w.objects, "PUT", suffix)
				if len(puts) == 0 {
					t.Errorf("no PUT of %s", suffix)
				}
				for _, h := range puts {
					for header, value := range want {
						if got := h.Get(header); got != value {
							t.Errorf("%s of a PUT of %s is %q, want %q", header, suffix, got, value)
						}
					}
				}
			}
		})
	}
}

// TestKMSHeaders: the key is named in each PUT. MinIO refuses a name that Terraform
// accepts, so the answer does not count.
func TestKMSHeaders(t *testing.T) {
	const key = "01234567-89ab-cdef-0123-456789abcdef"
	n := setup{objects: minio, file: true}.open(t)
	w := n.wire(t)
	b := n.client(t, w, func(c *s3.Config) { c.Encrypt, c.KMSKeyID = true, key })
	b.Write(t.Context(), "w", []byte("state"), backend.Condition{Revision: backend.AnyRevision}) // before which nothing is found out
	b.Lock(t.Context(), "w", lock.NewInfo("test"))
	for _, suffix := range []string{"/terraform.tfstate", ".tflock"} {
		puts := headers(w.objects, "PUT", suffix)
		if len(puts) == 0 || puts[0].Get("X-Amz-Server-Side-Encryption") != "aws:kms" || puts[0].Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != key {
			t.Errorf("%s: %v", suffix, puts)
		}
	}
}

// TestChecksums: a state has the checksum that Terraform sends, in a header; with
// skip_s3_checksum nothing of the kind is ever sent, nor asked for.
func TestChecksums(t *testing.T) {
	for _, skip := range []bool{false, true} {
		n := setup{objects: minio, file: true}.open(t)
		w := n.wire(t, faultproxy.WithBodies())
		b := n.client(t, w, func(c *s3.Config) { c.SkipS3Checksum = skip })
		work(t, b)
		for name, err := range b.List(t.Context()) {
			if name != "w" || err != nil {
				t.Errorf("%q, %v", name, err)
			}
		}
		st, err := b.Read(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), "w", backend.Condition{Revision: st.Revision}); err != nil {
			t.Fatal(err)
		}
		for _, r := range w.objects.Requests() {
			where := r.Method + " " + r.Path
			for header := range r.Header {
				about := strings.HasPrefix(header, "X-Amz-Checksum") || strings.HasPrefix(header, "X-Amz-Sdk-Checksum") || header == "X-Amz-Trailer"
				if skip && about {
					t.Errorf("%s has %s", where, header)
				}
			}
			if r.Header.Get("Content-Encoding") != "" || strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING") {
				t.Errorf("%s is sent in pieces", where)
			}
			if !skip && r.Method == "PUT" && r.Header.Get("X-Amz-Checksum-Sha256") == "" {
				t.Errorf("%s has no checksum", where)
			}
		}
	}
}
