package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
)

func TestConformance(t *testing.T) {
	for _, workspace := range []string{ws, "named"} {
		t.Run(workspace, func(t *testing.T) {
			backendtest.Run(t, backendtest.Target{
				New:          namespace,
				Workspace:    workspace,
				Fenced:       true,
				ProcessBound: true,
				Skips: backendtest.Skips{
					"Advance":     "no lock expires",
					"Canary":      "there are no credentials",
					"CorruptLock": "a record without a lock is no lock; see TestLockWithoutRecord",
					"Lossy":       "a reply cannot be lost: a system call returns",
					"Renewer":     "no lock expires",
					"Unlocked":    "there is no such setting",
					"Waiter":      "the system tells nobody of a release",
					"Watcher":     "the system tells nobody of a loss",
				},
			})
		})
	}
}

func namespace(t testing.TB) backendtest.Namespace {
	config := place(t)
	opener := func(c Config) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return opened(t, c) }
	}
	return backendtest.Namespace{
		Open: opener(config),
		Empty: func(t testing.TB, workspace string) {
			path := config.Path
			if workspace != backend.DefaultWorkspace {
				path = filepath.Join(config.WorkspaceDir, workspace, workspaceFile)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, path, nil)
		},
		Beside: opener(Config{Path: config.Path + "2", WorkspaceDir: config.WorkspaceDir + "2"}),
		Hung:   hung,
		Limited: func(t testing.TB, limit int) backend.Backend {
			limited := config
			limited.MaxSize = int64(limit)
			return opened(t, limited)
		},
	}
}

func opened(t testing.TB, c Config) *Backend {
	t.Helper()
	b, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hung opens a client that comes upon a writer which makes no progress.
func hung(t testing.TB) backend.Backend {
	config := place(t)
	b := opened(t, config)
	for _, path := range []string{config.Path, filepath.Join(config.WorkspaceDir, "named", workspaceFile)} {
		guard, err := takeGuard(t.Context(), files{state: path, journal: hidden(filepath.Dir(path), filepath.Base(path), ".journal")})
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, []byte("state"))
		t.Cleanup(func() { dropGuard(guard) })
	}
	return b
}
