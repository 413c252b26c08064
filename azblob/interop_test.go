package azblob_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/azurecloud"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
)

// block is the backend block for a program, which enters as package azurecloud says.
func (s *sky) block(t testing.TB, program string) string {
	secret := fmt.Sprintf("access_key = %q", s.server.SecretKey)
	if program == "terraform" {
		secret = fmt.Sprintf("sas_token = %q", s.sas(t, time.Now().Add(time.Hour)))
	}
	return fmt.Sprintf(`backend "azurerm" {
    storage_account_name = %q
    container_name       = %q
    key                  = %q
    metadata_host        = %q
    %s
  }`, s.server.AccessKey, box, s.key, azurecloud.MetadataHost, secret)
}

func (s *sky) fixture(t testing.TB, program string) tftest.Fixture {
	return tftest.Fixture{Backend: s.block(t, program), Env: s.Env, Ours: s.client(t, nil)}
}

func programs(t *testing.T, f func(t *testing.T, name string, p *tftest.Program)) {
	t.Run("terraform", func(t *testing.T) { f(t, "terraform", tftest.Terraform(t)) })
	t.Run("tofu", func(t *testing.T) { f(t, "tofu", tftest.Find(t, "tofu", services.Path)) })
}

func TestInterop(t *testing.T) {
	t.Parallel()
	programs(t, func(t *testing.T, name string, p *tftest.Program) {
		tftest.Interop(t, p, func(t *testing.T) tftest.Fixture { return newSky(t).fixture(t, name) })
	})
}

// TestTheirRequests counts what one apply of theirs costs, beside a cycle of ours, and
// looks at the revision before and after a lock of theirs.
func TestTheirRequests(t *testing.T) {
	t.Parallel()
	programs(t, func(t *testing.T, name string, p *tftest.Program) {
		s := newSky(t)
		config := tftest.Config{Backend: s.block(t, name), Count: 1, Word: "one"}
		dir := p.Dir(t, config, s.Env...)
		dir.Must("apply", "-auto-approve")
		ours := s.client(t, nil)
		before, err := ours.Read(t.Context(), ws)
		if err != nil {
			t.Fatal(err)
		}
		dir.Must("plan", "-detailed-exitcode")
		if s.Proxy.Count(faultproxy.Header("X-Ms-Lease-Action", "acquire")) < 2 {
			t.Error("the plan took no lock")
		}
		if rev, err := backend.Stat(t.Context(), ours, ws); err != nil || rev != before.Revision {
			t.Errorf("after a lock of theirs the revision is %q (%v), before it was %q", rev, err, before.Revision)
		}
		if _, err := ours.Write(t.Context(), ws, before.Data, backend.Condition{Revision: before.Revision}); err != nil {
			t.Errorf("Write with a revision from before a lock of theirs: %v", err)
		}

		config.Word = "two"
		dir.Configure(config)
		s.Proxy.Reset()
		dir.Must("apply", "-auto-approve")
		var theirs []string
		for _, q := range s.Proxy.Requests() {
			if q.Host != azurecloud.MetadataHost {
				theirs = append(theirs, describe(q))
			}
		}
		t.Logf("one apply made %d requests, and a cycle of ours 7, or 6 if the blob is known: %q", len(theirs), theirs)
		if len(theirs) <= 7 {
			t.Errorf("they need %d requests, and we 7", len(theirs))
		}
	})
}
