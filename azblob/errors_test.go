package azblob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// calls are all methods that make requests, each with its error.
func calls(ctx context.Context, b *azblob.Backend) map[string]error {
	errs := map[string]error{}
	_, errs["read"] = b.Read(ctx, ws)
	_, errs["stat"] = b.Stat(ctx, ws)
	_, errs["write"] = b.Write(ctx, ws, []byte("x"), backend.Condition{})
	errs["delete"] = b.Delete(ctx, ws, backend.Condition{Revision: backend.AnyRevision})
	_, errs["holder"] = b.Holder(ctx, ws)
	errs["unlock"] = b.Unlock(ctx, ws, lock.NewID())
	_, errs["renew"] = b.Renew(ctx, ws, lock.NewID())
	_, errs["lock"] = b.Lock(ctx, ws, lock.NewInfo("test"))
	for _, err := range b.List(ctx) {
		errs["list"] = err
	}
	return errs
}

// TestErrors provokes errors of the emulator: each has one kind, whatever the method,
// says what to do, and shows no secret.
func TestErrors(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, false)
	signature := func(token string) string { return token[strings.Index(token, "sig="):][4:20] }
	expired := n.sas(t, time.Now().Add(-time.Hour))
	for _, test := range []struct {
		name   string
		change func(*azblob.Config)
		kind   error
		says   string
		secret string
	}{
		{"no container", func(c *azblob.Config) { c.ContainerName = "nothing-there" }, backend.ErrNoStore, "container_name", n.server.SecretKey},
		{"wrong key", func(c *azblob.Config) { c.AccessKey = "d3Jvbmcta2V5" }, backend.ErrPermission, "access_key", "d3Jvbmcta2V5"},
		{"expired SAS", func(c *azblob.Config) { c.AccessKey, c.SASToken = "", backend.Secret(expired) }, backend.ErrPermission, "SAS", signature(expired)},
	} {
		c := n.client(t, nil, test.change)
		for method, err := range calls(t.Context(), c.Backend) {
			checkError(t, test.name+": "+method, err, test.kind, test.says, test.secret)
			var reply *azcore.ResponseError
			if !errors.As(err, &reply) {
				t.Errorf("%s: %s: the vendor's error is lost in: %v", test.name, method, err)
			}
		}
	}
}

func checkError(t *testing.T, doing string, err, kind error, says, secret string) {
	t.Helper()
	for _, other := range []error{
		backend.ErrNotExist, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrNoStore, backend.ErrCorrupt,
		backend.ErrPermission, backend.ErrTransient, backend.ErrUnknown, lock.ErrNotHeld, errors.ErrUnsupported, fs.ErrNotExist, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, other) != (other == kind) {
			t.Errorf("%s: error %v matches %q: %v", doing, err, other, other != kind)
		}
	}
	if err == nil {
		return
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%s: error %v does not say %q", doing, err, says)
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: a secret, or many lines, in: %v", doing, err)
	}
}

// TestErrorCodes has a server give codes that the emulator does not.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	var status int
	var code string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
	}))
	defer server.Close()
	for _, test := range []struct {
		status int
		code   string
		kind   error
		says   string
	}{
		{403, "AuthorizationPermissionMismatch", backend.ErrPermission, "Storage Blob Data Contributor"},
		{403, "KeyBasedAuthenticationNotPermitted", backend.ErrPermission, "use_azuread_auth"},
		{403, "AuthorizationFailure", backend.ErrPermission, "network rules"},
		{401, "InvalidAuthenticationInfo", backend.ErrPermission, "login"},
		{409, "BlobUsesCustomerSpecifiedEncryption", backend.ErrPermission, "customer_provided_key"},
		{409, "ContainerBeingDeleted", backend.ErrNoStore, "deleted"},
		{409, "BlobArchived", backend.ErrInvalid, "archived"},
		{409, "BlobImmutableDueToPolicy", backend.ErrPermission, "immutability"},
		{404, "ResourceNotFound", backend.ErrNotExist, ""},
		{400, "InvalidHeaderValue", backend.ErrInvalid, "InvalidHeaderValue"},
	} {
		status, code = test.status, test.code
		r := &recorder{Server: server}
		_, err := r.open(t, nil).Read(t.Context(), ws)
		checkError(t, test.code, err, test.kind, test.says, "a2V5")
	}
}

// TestNoListing: a reply without a list of blobs is no empty list.
func TestNoListing(t *testing.T) {
	t.Parallel()
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
	defer server.Close()
	for _, test := range []struct {
		body string
		kind error
	}{
		{"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>", nil},
		{"<EnumerationResults></EnumerationResults>", backend.ErrInvalid},
		{"", backend.ErrInvalid},
		{"<html></html>", backend.ErrInvalid},
	} {
		body = test.body
		r := &recorder{Server: server}
		var err error
		for _, err = range r.open(t, nil).List(t.Context()) {
		}
		checkError(t, body, err, test.kind, "", "a2V5")
	}
}

// TestUnreachable: nobody answers; the SAS is in no text.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]azblob.Config{
		"refused": {BlobEndpoint: "http://127.0.0.1:1"},
		"no name": {BlobEndpoint: "http://nobody.invalid"},
	} {
		config.StorageAccountName, config.ContainerName, config.Key, config.SASToken = "account", "container", "key", "sig=canary"
		b, err := azblob.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		_, err = b.Read(t.Context(), ws)
		checkError(t, name+": read", err, backend.ErrTransient, "storage_account_name", "canary")
		_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{})
		checkError(t, name+": write", err, backend.ErrTransient, "storage_account_name", "canary")
	}
}

// TestTimeout: a request takes as long as the setting says, and no longer.
func TestTimeout(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer server.Close()
	defer close(stop)
	r := &recorder{Server: server}
	b := r.open(t, func(c *azblob.Config) { c.TimeoutSeconds = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := b.Write(ctx, ws, []byte("x"), backend.Condition{})
	if took := time.Since(start); took < time.Second || took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if !errors.Is(err, backend.ErrUnknown) {
		t.Errorf("got error %v, want one that matches ErrUnknown", err)
	}
}
