package httpbackend_test

import (
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
)

func TestConformance(t *testing.T) {
	for _, workspace := range []string{backend.DefaultWorkspace, "prod"} {
		t.Run(workspace, func(t *testing.T) {
			backendtest.Run(t, backendtest.Target{
				New:       memoryNamespace,
				Workspace: workspace,
				Fenced:    true,
				TTL:       time.Minute,
				Canary:    canary,
				Skips:     backendtest.Skips{"Waiter": "the protocol tells nobody of a release"},
			})
		})
	}
}
