package all_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	azsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	s3sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/internal/azurecloud"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
)

// A served store is one that real programs use through our HTTP server.
type servedStore struct {
	name string
	// open makes a place of its own, and returns its settings.
	open func(t *testing.T) (typ string, settings backend.Settings)
	// block is the store's own backend block for the same place, and what a program needs
	// in its environment to reach that; nil if there is none.
	block func(t *testing.T, program string, settings backend.Settings) (block string, env []string)
}

var servedStores = []servedStore{
	{name: "memory", open: func(*testing.T) (string, backend.Settings) { return "memory", backend.Settings{} }},
	{
		name: "local",
		open: func(t *testing.T) (string, backend.Settings) {
			return "local", backend.Settings{"path": filepath.Join(t.TempDir(), "terraform.tfstate")}
		},
		block: asTheyAre("local"),
	},
	{
		name: "s3", open: openMinIO,
		block: func(_ *testing.T, _ string, s backend.Settings) (string, []string) {
			return strings.Replace(attributes("s3", s, "endpoint"), "{\n", fmt.Sprintf("{\n    endpoints = { s3 = %q }\n", s["endpoint"]), 1), nil
		},
	},
	{name: "gcs", open: openFakeGCS, block: asTheyAre("gcs")},
	{name: "azurerm", open: openAzurite, block: azurermBlock},
	{
		name: "consul",
		open: func(t *testing.T) (string, backend.Settings) {
			s := testservice.Run(t, testservice.Consul)
			return "consul", backend.Settings{"address": s.Addr, "scheme": "http", "access_token": s.Token, "path": testservice.Name(t)}
		},
		block: asTheyAre("consul"),
	},
}

// asTheyAre writes all settings as a backend block.
func asTheyAre(typ string) func(*testing.T, string, backend.Settings) (string, []string) {
	return func(_ *testing.T, _ string, s backend.Settings) (string, []string) { return attributes(typ, s), nil }
}

// attributes writes settings as a backend block, but for some.
func attributes(typ string, settings backend.Settings, but ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "backend %q {\n", typ)
	for name, value := range settings {
		if !slices.Contains(but, name) {
			fmt.Fprintf(&b, "    %s = %#v\n", name, value)
		}
	}
	return b.String() + "  }"
}

func openMinIO(t *testing.T) (string, backend.Settings) {
	s := testservice.Run(t, testservice.MinIO)
	client := s3sdk.New(s3sdk.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
	if _, err := client.CreateBucket(t.Context(), &s3sdk.CreateBucketInput{Bucket: aws.String("states")}); err != nil {
		t.Fatal(err)
	}
	return "s3", backend.Settings{
		"bucket": "states", "key": "prod.tfstate", "region": s.Region, "endpoint": s.Endpoint, "use_lockfile": true,
		"access_key": s.AccessKey, "secret_key": s.SecretKey, "use_path_style": true,
		"skip_credentials_validation": true, "skip_metadata_api_check": true, "skip_requesting_account_id": true,
	}
}

func openFakeGCS(t *testing.T) (string, backend.Settings) {
	s := testservice.Run(t, testservice.FakeGCS)
	reply, err := http.Post(s.Endpoint+"/storage/v1/b?project=test", "application/json", strings.NewReader(`{"name":"states"}`))
	if err != nil || reply.StatusCode != http.StatusOK {
		t.Fatal(reply, err)
	}
	reply.Body.Close()
	return "gcs", backend.Settings{"bucket": "states", "prefix": "prod", "access_token": "token", "storage_custom_endpoint": s.Endpoint + "/storage/v1/b"}
}

func openAzurite(t *testing.T) (string, backend.Settings) {
	s := testservice.Run(t, testservice.Azurite)
	settings := backend.Settings{"storage_account_name": s.AccessKey, "access_key": s.SecretKey, "container_name": "states", "key": "prod.tfstate", "blob_endpoint": s.Endpoint}
	if _, err := container(t, settings).Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return "azurerm", settings
}

// container returns the vendor's client of the container in these settings.
func container(t *testing.T, s backend.Settings) *azsdk.Client {
	t.Helper()
	key, err := azsdk.NewSharedKeyCredential(s["storage_account_name"].(string), s["access_key"].(string))
	if err != nil {
		t.Fatal(err)
	}
	client, err := azsdk.NewClientWithSharedKeyCredential(fmt.Sprint(s["blob_endpoint"], "/", s["container_name"]), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// azurermBlock leads through a cloud of its own, as package azurecloud says.
func azurermBlock(t *testing.T, program string, s backend.Settings) (string, []string) {
	cloud, own := azurecloud.Start(t, s["blob_endpoint"].(string)), maps.Clone(s)
	own["metadata_host"] = azurecloud.MetadataHost
	if program == "tofu" {
		return attributes("azurerm", own, "blob_endpoint"), cloud.Env
	}
	may := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}
	signed, err := container(t, s).GetSASURL(may, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, own["sas_token"], _ = strings.Cut(signed, "?")
	return attributes("azurerm", own, "blob_endpoint", "access_key"), cloud.Env
}

// TestServedOver has real programs use every store through the server.
func TestServedOver(t *testing.T) {
	entrances := map[string]func(*testing.T) entrance{"basic": basicEntrance, "mTLS": mutualEntrance}
	for _, store := range servedStores {
		for program, lookup := range map[string]func(string) (string, error){"terraform": exec.LookPath, "tofu": services.Path} {
			for name, enter := range entrances {
				t.Run(strings.Join([]string{store.name, program, name}, "/"), func(t *testing.T) {
					t.Parallel()
					typ, settings := store.open(t)
					b, err := all.Mux().Open(t.Context(), typ, settings.Decode)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { b.Close() })
					locks, ok := backend.As[lock.Locker](b)
					if !ok {
						t.Fatal("it does not lock")
					}
					s := &served{T: t, store: store, settings: settings, name: program, program: tftest.Find(t, program, lookup), b: b, locks: locks, entrance: enter(t)}
					s.address = s.serve(t, b, server.Options{})
					s.play()
				})
			}
		}
	}
}

// served is one program at one store.
type served struct {
	*testing.T
	entrance
	store    servedStore
	settings backend.Settings
	name     string // of the program
	program  *tftest.Program
	b        backend.Backend // what is served
	locks    lock.Locker
	address  string
	dir      *tftest.Dir
}

func (s *served) play() {
	s.dir = s.program.Dir(s.T, s.config(1, "one", ""))
	s.dir.Must("apply", "-auto-approve")
	s.dir.Must("plan", "-detailed-exitcode")
	s.has("one")
	if _, err := s.dir.Run("workspace", "new", "other"); err == nil {
		s.Error("the program has workspaces over HTTP")
	}
	s.beside()
	s.ours()
	s.contend()
	s.wait()
	s.breakLock()
}

func (s *served) config(count int, word, gate string) tftest.Config {
	return tftest.Config{Backend: s.block(s.address, ""), Count: count, Word: word, Gate: gate}
}

// has reads past the server.
func (s *served) has(words ...string) {
	s.Helper()
	st, err := s.b.Read(s.Context(), backend.DefaultWorkspace)
	if err != nil {
		s.Fatal(err)
	}
	got, err := tftest.Words(st.Data)
	if diff := cmp.Diff(words, got); err != nil || diff != "" {
		s.Errorf("words in the state (-want +got):\n%s%v", diff, err)
	}
}

// beside has the program work on the same state by the store's own backend.
func (s *served) beside() {
	if s.store.block == nil {
		return
	}
	block, env := s.store.block(s.T, s.name, s.settings)
	config := tftest.Config{Backend: block, Count: 1, Word: "one"}
	own := s.program.Dir(s.T, config, env...)
	own.Must("plan", "-detailed-exitcode")
	if ours, theirs := s.dir.Must("state", "pull"), own.Must("state", "pull"); ours != theirs {
		s.Errorf("by way of the server the state is\n%s\nand else\n%s", ours, theirs)
	}
	config.Word = "two"
	own.Configure(config)
	own.Must("apply", "-auto-approve")
	s.dir.Configure(s.config(1, "two", ""))
	s.dir.Must("plan", "-detailed-exitcode")
	s.dir.Configure(s.config(1, "one", ""))
	s.dir.Must("apply", "-auto-approve")
}

// client is ours of the server.
func (s *served) client() *httpbackend.Backend {
	settings := backend.Settings{"address": s.address, "lock_address": s.address, "unlock_address": s.address}
	for name, value := range s.entrance.settings {
		settings[name] = value
	}
	var config httpbackend.Config
	if err := settings.Decode(&config); err != nil {
		s.Fatal(err)
	}
	b, err := httpbackend.New(s.Context(), config)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { b.Close() })
	return b
}

// ours has a client of ours do what the program does, by whatever ID the store gives.
func (s *served) ours() {
	b, second := s.client(), s.client()
	held, err := b.Lock(s.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
	if err != nil {
		s.Fatal(err)
	}
	st, err := b.Read(s.Context(), backend.DefaultWorkspace)
	if err != nil {
		s.Fatal(err)
	}
	data, err := tftest.Reword(st.Data, "one", "ours")
	if err != nil {
		s.Fatal(err)
	}
	cond := backend.Condition{Revision: st.Revision, LockID: lock.NewID()}
	if _, err := second.Write(s.Context(), backend.DefaultWorkspace, data, cond); !errors.As(err, new(*lock.HeldError)) {
		s.Errorf("Write under another's lock: %v", err)
	}
	cond.LockID = held.ID
	if _, err := second.Write(s.Context(), backend.DefaultWorkspace, data, cond); err != nil {
		s.Errorf("Write under the lock: %v", err)
	}
	if _, err := b.Write(s.Context(), backend.DefaultWorkspace, st.Data, cond); !errors.Is(err, backend.ErrConflict) {
		s.Errorf("Write under the lock on an old revision: %v", err)
	}
	if err := second.Unlock(s.Context(), backend.DefaultWorkspace, held.ID); err != nil {
		s.Errorf("Unlock: %v", err)
	}
	if err := second.Unlock(s.Context(), backend.DefaultWorkspace, held.ID); !errors.Is(err, lock.ErrNotHeld) {
		s.Errorf("Unlock again: %v", err)
	}
	s.dir.Configure(s.config(1, "ours", ""))
	s.dir.Must("plan", "-detailed-exitcode")
}

// contend has the program hold the lock against another of its kind, and us.
func (s *served) contend() {
	apply, gate := s.applying("contended")
	other := s.program.Dir(s.T, s.config(2, "never", ""))
	if out, err := other.Run("apply", "-auto-approve"); err == nil || !strings.Contains(out, "Error acquiring the state lock") {
		s.Errorf("a second apply was not refused: %v\n%s", err, out)
	}
	ours := s.client()
	_, err := ours.Lock(s.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder.Operation != "OperationTypeApply" {
		s.Errorf("Lock: %v", err)
	}
	if _, err := ours.Write(s.Context(), backend.DefaultWorkspace, []byte("{}"), backend.Condition{Revision: backend.AnyRevision}); !errors.As(err, &held) {
		s.Errorf("Write without the lock: %v", err)
	}
	tftest.Open(s, gate)
	apply.Must()
	s.has("contended", "contended")
	if _, err := ours.Holder(s.Context(), backend.DefaultWorkspace); !errors.Is(err, lock.ErrNotHeld) {
		s.Errorf("Holder: %v", err)
	}
	s.dir.Configure(s.config(1, "one", ""))
	s.dir.Must("apply", "-auto-approve")
}

// applying lets the program apply up to a gate.
func (s *served) applying(word string) (apply *tftest.Process, gate string) {
	gate = filepath.Join(s.TempDir(), "open")
	s.dir.Configure(s.config(2, word, gate))
	apply = s.dir.Start("apply", "-auto-approve")
	apply.Until("Provisioning with 'local-exec'")
	return apply, gate
}

// wait has the program wait for a lock that was taken past the server.
func (s *served) wait() {
	held, err := s.locks.Lock(s.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
	if err != nil {
		s.Fatal(err)
	}
	s.dir.Configure(s.config(1, "waited", ""))
	apply := s.dir.Start("apply", "-auto-approve", "-lock-timeout=60s")
	apply.Until("Acquiring state lock. This may take a few moments")
	if err := s.locks.Unlock(s.Context(), backend.DefaultWorkspace, held.ID); err != nil {
		s.Fatal(err)
	}
	apply.Must()
	s.has("waited")
}

// breakLock has the program break the lock of one that was killed. OpenTofu says which.
func (s *served) breakLock() {
	ways := []struct {
		opts  server.Options
		query string
		works bool
	}{{works: s.name == "tofu"}, {query: "?ID=", works: true}, {opts: server.Options{EmptyUnlock: true}, works: true}}
	for i, way := range ways {
		apply, _ := s.applying(fmt.Sprint("killed", i))
		apply.Kill()
		holder, err := s.locks.Holder(s.Context(), backend.DefaultWorkspace)
		if err != nil {
			s.Fatal(err)
		}
		query := way.query
		if query != "" {
			query += holder.ID
		}
		// A second server beside the first knows the lock as well.
		dir := s.program.Dir(s.T, tftest.Config{Backend: s.block(s.serve(s.T, s.b, way.opts), query)})
		out, err := dir.Run("force-unlock", "-force", holder.ID)
		if err == nil != way.works {
			s.Errorf("force-unlock with %+v and query %q: %v\n%s", way.opts, query, err, out)
		}
		if !way.works {
			if err := s.locks.Unlock(s.Context(), backend.DefaultWorkspace, holder.ID); err != nil {
				s.Error(err)
			}
		}
		s.dir.Configure(s.config(1, fmt.Sprint("after", i), ""))
		s.dir.Must("apply", "-auto-approve")
	}
}
