package azblob_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
)

func TestMain(m *testing.M) { testservice.Main(m) }

var (
	azurite    = &store{kind: testservice.Azurite}
	azuriteTLS = &store{kind: testservice.AzuriteTLS}
)

const box = "statelatch" // the container of all tests

// A store is a server that starts when it is first used, and then gets the container.
type store struct {
	kind    testservice.Kind
	mu      sync.Mutex
	service *testservice.Service
	made    bool
}

func (s *store) start(t testing.TB) *testservice.Server {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.service == nil {
		s.service = testservice.New(s.kind)
	}
	server := s.service.Start(t)
	if !s.made {
		if _, err := vendor(t, server, box).Create(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		s.made = true
	}
	return server
}

// vendor returns the vendor's own client of a container, for what the package is not
// to do itself.
func vendor(t testing.TB, server *testservice.Server, name string) *container.Client {
	t.Helper()
	key, err := container.NewSharedKeyCredential(server.AccessKey, server.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClientWithSharedKeyCredential(server.Endpoint+"/"+name, key, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport(t, server)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// A namespace is a key of its own in the container.
type namespace struct {
	server  *testservice.Server
	key     string
	proxied bool // all requests go through a quiet proxy
}

func newNamespace(t testing.TB, proxied bool) *namespace {
	t.Helper()
	return azurite.namespace(t, proxied)
}

func (s *store) namespace(t testing.TB, proxied bool) *namespace {
	t.Helper()
	return &namespace{s.start(t), strings.ToLower(rand.Text()[:16]) + "/prod.tfstate", proxied}
}

// config is the configuration of a client that goes by p, or directly.
func (n *namespace) config(p *faultproxy.Proxy) azblob.Config {
	c := azblob.Config{
		StorageAccountName: n.server.AccessKey,
		AccessKey:          backend.Secret(n.server.SecretKey),
		ContainerName:      box,
		Key:                n.key,
		BlobEndpoint:       n.server.Endpoint,
	}
	if p != nil {
		c.BlobEndpoint = p.URL()
	}
	return c
}

// A client is a Backend with a proxy that no other client uses, if any.
type client struct {
	*azblob.Backend
	own *faultproxy.Proxy
}

func (c *client) Close() error {
	err := c.Backend.Close()
	if c.own != nil {
		c.own.Close()
	}
	return err
}

// client opens a Backend whose requests go by p. change may change its configuration.
func (n *namespace) client(t testing.TB, p *faultproxy.Proxy, change ...func(*azblob.Config)) *client {
	t.Helper()
	c := &client{}
	if p == nil && n.proxied {
		c.own = faultproxy.New(t, n.server.Endpoint)
		p = c.own
	}
	config := n.config(p)
	for _, f := range change {
		f(&config)
	}
	var err error
	if c.Backend, err = azblob.New(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Backend.Close() })
	return c
}

// proxy puts a proxy with rules before the server.
func (n *namespace) proxy(t testing.TB, rules ...faultproxy.Rule) *faultproxy.Proxy {
	p := faultproxy.New(t, n.server.Endpoint)
	for _, rule := range rules {
		p.Add(rule)
	}
	return p
}

// blob returns the vendor's client of a workspace's state.
func (n *namespace) blob(t testing.TB, workspace string) *blockblob.Client {
	name := n.key
	if workspace != backend.DefaultWorkspace {
		name += "env:" + workspace
	}
	return vendor(t, n.server, box).NewBlockBlobClient(name)
}

// sas returns a SAS for the container, that ends at a time.
func (n *namespace) sas(t testing.TB, end time.Time) string {
	t.Helper()
	permissions := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}
	signed, err := vendor(t, n.server, box).GetSASURL(permissions, end, &container.GetSASURLOptions{StartTime: new(end.Add(-24 * time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(signed, "?")
	return query
}

// takeLease takes a lease as anybody may, and returns its ID.
func takeLease(t testing.TB, b *blockblob.Client) string {
	t.Helper()
	c, err := lease.NewBlobClient(b, &lease.BlobClientOptions{LeaseID: new(lock.NewID())})
	if err == nil {
		_, err = c.AcquireLease(context.Background(), -1, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return *c.LeaseID()
}

// setMetadata replaces the metadata of a blob, under a lease or "".
func setMetadata(t testing.TB, b *blockblob.Client, leaseID string, meta map[string]*string) {
	t.Helper()
	options := &blob.SetMetadataOptions{}
	if leaseID != "" {
		options.AccessConditions = &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &leaseID}}
	}
	if _, err := b.SetMetadata(context.Background(), meta, options); err != nil {
		t.Fatal(err)
	}
}

// upload stores a blob past the package.
func upload(t testing.TB, b *blockblob.Client, data string, meta map[string]*string) {
	t.Helper()
	if _, err := b.UploadBuffer(context.Background(), []byte(data), &blockblob.UploadBufferOptions{Metadata: meta}); err != nil {
		t.Fatal(err)
	}
}

// corruptLock leaves a lease whose record is rubbish.
func (n *namespace) corruptLock(t testing.TB, workspace string) {
	b := n.blob(t, workspace)
	upload(t, b, "", nil)
	setMetadata(t, b, takeLease(t, b), map[string]*string{"terraformlockid": new("rubbish")})
}

// changes matches the requests that change something.
func changes(r *http.Request) bool { return r.Method == "PUT" || r.Method == "DELETE" }

// transport returns one that trusts the server, and leaves nothing open after t.
func transport(t testing.TB, server *testservice.Server) *http.Transport {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.Proxy = nil
	if server.CA != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: server.CA.Pool()}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}
