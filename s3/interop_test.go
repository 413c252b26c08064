package s3_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// The programs that this package owes the same states and locks.
var programs = []struct {
	name string
	find func(name string) (string, error)
}{
	{"terraform", exec.LookPath},
	{"tofu", services.Path},
}

// A block is a backend block, for the programs and for us.
type block map[string]any

// newBlock returns one for a place in a bucket that nobody has used yet.
func newBlock(server *testservice.Server) block {
	id := strings.ToLower(rand.Text()[:16])
	return block{
		"bucket":                      place,
		"key":                         id + "/terraform.tfstate",
		"workspace_key_prefix":        "env:" + id,
		"region":                      server.Region,
		"access_key":                  server.AccessKey,
		"secret_key":                  server.SecretKey,
		"use_path_style":              true,
		"skip_credentials_validation": true,
		"skip_requesting_account_id":  true,
		"skip_metadata_api_check":     true,
		"endpoints":                   map[string]any{"s3": server.Endpoint},
	}
}

// addTable adds a lock in DynamoDB.
func (b block) addTable(endpoint string) {
	b["dynamodb_table"] = place
	b["endpoints"].(map[string]any)["dynamodb"] = endpoint
}

// String writes the block as the programs read it.
func (b block) String() string {
	return "backend \"s3\" {\n" + attributeLines(b) + "}"
}

func attributeLines(attributes map[string]any) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		value := fmt.Sprintf("%#v", attributes[name])
		if nested, ok := attributes[name].(map[string]any); ok {
			value = "{\n" + attributeLines(nested) + "}"
		}
		fmt.Fprintf(&text, "%s = %s\n", name, value)
	}
	return text.String()
}

// open opens a client of ours with the same block.
func (b block) open(t testing.TB) backend.Backend {
	t.Helper()
	ours, err := driver.Open(context.Background(), "s3", backend.Settings(b).Decode)
	if err != nil {
		t.Fatal(err)
	}
	return ours
}

// TestInterop has each program work beside us, with each of the locks, on a server
// that ignores the condition of a DELETE and on one that honours it.
func TestInterop(t *testing.T) {
	t.Parallel()
	for _, program := range programs {
		for _, server := range []struct {
			name  string
			store *store
		}{
			{"minio", minio},
			{"versitygw", versitygw},
		} {
			for _, locks := range []struct {
				name        string
				file, table bool
			}{
				{"lock file", true, false},
				{"DynamoDB", false, true},
				{"both", true, true},
			} {
				t.Run(program.name+", "+server.name+", "+locks.name, func(t *testing.T) {
					t.Parallel()
					tftest.Interop(t, tftest.Find(t, program.name, program.find), func(t *testing.T) tftest.Fixture {
						running := server.store.start(t)
						b := newBlock(running)
						w := wire{objects: faultproxy.New(t, running.Endpoint)}
						if locks.file {
							b["use_lockfile"] = true
						}
						if locks.table {
							w.tables = faultproxy.New(t, dynalite.start(t).Endpoint)
							w.tables.Use(wholly)
							b.addTable(w.tables.URL())
						}
						b["endpoints"].(map[string]any)["s3"] = w.objects.URL()
						f := tftest.Fixture{Backend: b.String(), LeavesEmpty: !server.store.conforming, Proxies: []*faultproxy.Proxy{w.objects}}
						if w.tables != nil {
							f.Proxies = append(f.Proxies, w.tables)
						}
						if server.store.conforming {
							w.objects.Use(orderly(running))
							w.objects.Use(strictly(t, running))
							b["conditions"] = s3.ConditionsHonoured // which they do not know
						}
						f.Ours = b.open(t)
						return f
					})
				})
			}
		}
	}
}

// TestInteropCustomerKey has each program share states and lock files with us that
// are encrypted with a key of the customer (SSE-C).
func TestInteropCustomerKey(t *testing.T) {
	t.Parallel()
	for _, program := range programs {
		t.Run(program.name, func(t *testing.T) {
			t.Parallel()
			p := tftest.Find(t, program.name, program.find)
			server := minioTLS.start(t)
			b := newBlock(server)
			b["use_lockfile"], b["encrypt"], b["sse_customer_key"], b["custom_ca_bundle"] = true, true, sseKey, server.CAFile
			ours := b.open(t)
			defer ours.Close()
			locks := ours.(lock.Locker)
			dir := p.Dir(t, tftest.Config{Backend: b.String(), Count: 1, Word: "one"})
			dir.Must("apply", "-auto-approve")

			_, err := s3Client(t, server, server.Endpoint).GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String(place), Key: aws.String(b["key"].(string))})
			if err == nil {
				t.Error("the state can be read without the key")
			}
			if _, err := backend.Update(t.Context(), ours, backend.DefaultWorkspace, lock.NewInfo("test"), lock.Options{}, reword("one", "two")); err != nil {
				t.Fatal(err)
			}
			dir.Configure(tftest.Config{Backend: b.String(), Count: 1, Word: "two"})
			dir.Must("plan", "-detailed-exitcode")

			held, err := locks.Lock(t.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
			if err != nil {
				t.Fatal(err)
			}
			out, err := dir.Run("plan")
			if err == nil || !strings.Contains(out, "Error acquiring the state lock") {
				t.Errorf("they plan while we hold the lock: %v\n%s", err, out)
			}
			// Terraform does not send the key when it looks for the holder.
			if shown := strings.Contains(out, held.ID); shown != (program.name == "tofu") {
				t.Errorf("the holder is shown: %v\n%s", shown, out)
			}
			dir.Must("force-unlock", "-force", held.ID)
			if _, err := locks.Holder(t.Context(), backend.DefaultWorkspace); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("after their force-unlock: %v", err)
			}
			theirs := holding(t, dir, b)
			holder, err := locks.Holder(t.Context(), backend.DefaultWorkspace)
			if err != nil || holder.Operation != "OperationTypeApply" {
				t.Errorf("Holder while they apply: %+v, %v", holder, err)
			}
			theirs.Kill()
			if err := locks.Unlock(t.Context(), backend.DefaultWorkspace, holder.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

// reword is an edit for backend.Update.
func reword(from, to string) func(context.Context, backend.State) ([]byte, error) {
	return func(_ context.Context, current backend.State) ([]byte, error) {
		return tftest.Reword(current.Data, from, to)
	}
}

// holding returns a process of theirs that holds the lock until it is killed.
func holding(t *testing.T, dir *tftest.Dir, b block) *tftest.Process {
	t.Helper()
	dir.Configure(tftest.Config{Backend: b.String(), Count: 2, Word: "two", Gate: t.TempDir() + "/never"})
	p := dir.Start("apply", "-auto-approve")
	p.Until("Provisioning with 'local-exec'")
	return p
}

// TestInteropOneOfTwoLocks: a team that goes from DynamoDB to the lock file, as
// Terraform advises, configures both for a while. We with both, and they with
// either, keep each other out.
func TestInteropOneOfTwoLocks(t *testing.T) {
	t.Parallel()
	p := tftest.Find(t, "terraform", exec.LookPath)
	for _, theirLock := range []string{"use_lockfile", "dynamodb_table"} {
		t.Run(theirLock, func(t *testing.T) {
			t.Parallel()
			b := newBlock(minio.start(t))
			b["use_lockfile"] = true
			b.addTable(dynalite.start(t).Endpoint)
			ours := b.open(t)
			defer ours.Close()
			locks := ours.(lock.Locker)
			one := maps.Clone(b)
			delete(one, map[string]string{"use_lockfile": "dynamodb_table", "dynamodb_table": "use_lockfile"}[theirLock])
			dir := p.Dir(t, tftest.Config{Backend: one.String()})

			held, err := locks.Lock(t.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := dir.Run("plan"); err == nil || !strings.Contains(out, held.ID) {
				t.Errorf("they plan while we hold both: %v\n%s", err, out)
			}
			if err := locks.Unlock(t.Context(), backend.DefaultWorkspace, held.ID); err != nil {
				t.Fatal(err)
			}
			theirs := holding(t, dir, one)
			var refused *lock.HeldError
			if _, err := locks.Lock(t.Context(), backend.DefaultWorkspace, lock.NewInfo("test")); !errors.As(err, &refused) {
				t.Fatalf("we lock while they hold one: %v", err)
			}
			theirs.Kill()
			if err := locks.Unlock(t.Context(), backend.DefaultWorkspace, refused.Holder.ID); err != nil {
				t.Error(err)
			}
			if holder, err := locks.Holder(t.Context(), backend.DefaultWorkspace); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("Holder afterwards: %+v, %v", holder, err)
			}
		})
	}
}
