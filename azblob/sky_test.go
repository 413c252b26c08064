package azblob_test

import (
	"context"
	"testing"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/internal/azurecloud"
	"github.com/statelatch/statelatch/internal/faultproxy"
)

// A sky is a namespace in a cloud of its own.
type sky struct {
	*namespace
	*azurecloud.Cloud
}

func newSky(t testing.TB) *sky {
	t.Helper()
	return skyOver(t, newNamespace(t, false))
}

func skyOver(t testing.TB, n *namespace) *sky {
	t.Helper()
	opts := []faultproxy.Option{faultproxy.WithBodies()}
	if n.server.CA != nil {
		opts = append(opts, faultproxy.WithRootCAs(n.server.CA.Pool()))
	}
	return &sky{n, azurecloud.Start(t, n.server.Endpoint, opts...)}
}

// open opens a Backend that finds the service by way of the metadata.
func (s *sky) open(t testing.TB, change func(*azblob.Config)) (*azblob.Backend, error) {
	t.Helper()
	config := s.config(nil)
	config.BlobEndpoint, config.MetadataHost = "", azurecloud.MetadataHost
	if change != nil {
		change(&config)
	}
	b, err := azblob.Open(context.Background(), config, s.Tunnel, s.CAFile)
	if err == nil {
		t.Cleanup(func() { b.Close() })
	}
	return b, err
}
