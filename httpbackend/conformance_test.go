package httpbackend_test

import (
	"maps"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
)

var lacks = backendtest.Skips{
	"Empty":   "the store behind our server keeps no empty state",
	"Waiter":  "the protocol tells nobody of a release",
	"Watcher": "the protocol tells nobody of a loss",
}

func TestConformance(t *testing.T) {
	t.Run("default", func(t *testing.T) { backendtest.Run(t, target(backend.DefaultWorkspace, nil)) })
	t.Run("named", func(t *testing.T) { backendtest.Run(t, target("prod", long)) })
}

// What takes long, and does not depend on the name of the workspace.
var long = backendtest.Skips{
	"large states":    "done in the default workspace",
	"many workspaces": "done in the default workspace",
}

func target(workspace string, skips backendtest.Skips) backendtest.Target {
	all := maps.Clone(lacks)
	maps.Copy(all, skips)
	return backendtest.Target{
		New:       memoryNamespace,
		Workspace: workspace,
		Fenced:    true,
		TTL:       time.Minute,
		Canary:    canary,
		Skips:     all,
	}
}
