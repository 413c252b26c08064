package s3_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/s3"
)

func TestMain(m *testing.M) { testservice.Main(m) }

// The servers of this package's tests, each with one bucket or one table.
var (
	minio     = &store{kind: testservice.MinIO}
	minioTLS  = &store{kind: testservice.MinIOTLS}
	versitygw = &store{kind: testservice.VersityGW, conforming: true}
	s3rver    = &store{kind: testservice.S3rver}
	dynalite  = &store{kind: testservice.Dynalite, table: true}
	minidyn   = &store{kind: testservice.Minidyn, table: true}
)

const place = "statelatch" // the name of the bucket, or the table

// A store is a server that starts when it is first used.
type store struct {
	kind       testservice.Kind
	conforming bool
	table      bool

	mu      sync.Mutex
	service *testservice.Service
	made    bool
}

// start returns the running server, which has its bucket or table.
func (s *store) start(t testing.TB) *testservice.Server {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.service == nil {
		s.service = testservice.New(s.kind)
	}
	server := s.service.Start(t)
	if s.made {
		return server
	}
	var err error
	if s.table {
		_, err = dynamoClient(t, server, server.Endpoint).CreateTable(context.Background(), &dynamodb.CreateTableInput{
			TableName:            aws.String(place),
			BillingMode:          dbtypes.BillingModePayPerRequest,
			AttributeDefinitions: []dbtypes.AttributeDefinition{{AttributeName: aws.String("LockID"), AttributeType: dbtypes.ScalarAttributeTypeS}},
			KeySchema:            []dbtypes.KeySchemaElement{{AttributeName: aws.String("LockID"), KeyType: dbtypes.KeyTypeHash}},
		})
	} else {
		_, err = s3Client(t, server, server.Endpoint).CreateBucket(context.Background(), &sdk.CreateBucketInput{Bucket: aws.String(place)})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.made = true
	return server
}

// transport returns one that trusts the server, and leaves nothing open after t.
func transport(t testing.TB, server *testservice.Server) *http.Transport {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.Proxy, tr.MaxIdleConnsPerHost = nil, 16
	if server.CA != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: server.CA.Pool()}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// impatient retries like the vendor's client does, with shorter pauses.
func impatient() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 5, 20*time.Millisecond, ratelimit.None
	})
}

func s3Client(t testing.TB, server *testservice.Server, endpoint string, opts ...func(*sdk.Options)) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: &endpoint,
		Region:       server.Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
		HTTPClient:   &http.Client{Transport: transport(t, server)},
		Retryer:      impatient(),
	}, opts...)
}

func dynamoClient(t testing.TB, server *testservice.Server, endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint,
		Region:       server.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
		HTTPClient:   &http.Client{Transport: transport(t, server)},
		Retryer:      impatient(),
	})
}

// A setup says on which servers, and with which locks, a Backend works.
type setup struct {
	objects *store
	table   *store // nil = no DynamoDB
	file    bool   // use_lockfile
	unknown bool   // how the endpoint treats conditions is to be found out
	proxied bool   // all requests go through a quiet proxy
}

// A place is a part of the servers of its own, with a configuration for it.
type namespace struct {
	setup
	t      testing.TB
	server *testservice.Server
	tables *testservice.Server
	config s3.Config // without clients
}

func (s setup) open(t testing.TB) *namespace {
	t.Helper()
	n := &namespace{setup: s, t: t, server: s.objects.start(t)}
	id := strings.ToLower(rand.Text()[:16])
	n.config = s3.Config{
		Bucket:             place,
		Key:                id + "/terraform.tfstate",
		Region:             n.server.Region,
		WorkspaceKeyPrefix: "env:" + id,
		UseLockfile:        s.file,
		MaxRetries:         5,
	}
	if s.objects.conforming && !s.unknown {
		n.config.Conditions = s3.ConditionsHonoured
	}
	if s.table != nil {
		n.tables, n.config.DynamoDBTable = s.table.start(t), place
	}
	return n
}

// A wire is where the requests of one client go.
type wire struct {
	objects, tables *faultproxy.Proxy // nil = directly to the server
}

// proxies returns those that there are.
func (w wire) proxies() []*faultproxy.Proxy {
	return slices.DeleteFunc([]*faultproxy.Proxy{w.objects, w.tables}, func(p *faultproxy.Proxy) bool { return p == nil })
}

// wire puts proxies before the servers.
func (n *namespace) wire(t testing.TB, opts ...faultproxy.Option) wire {
	w := wire{}
	if n.tables != nil {
		w.tables = faultproxy.New(t, n.tables.Endpoint, opts...)
		w.tables.Use(wholly)
	}
	if n.server.CA != nil {
		opts = append(opts, faultproxy.WithRootCAs(n.server.CA.Pool()))
	}
	w.objects = faultproxy.New(t, n.server.Endpoint, opts...)
	if n.objects.conforming {
		w.objects.Use(orderly(n.server))
	}
	if n.strict() {
		w.objects.Use(strictly(t, n.server))
	}
	return w
}

// wholly passes a request on when all of it is there: dynalite dies of one that
// breaks off.
func wholly(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r = r.WithContext(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	forward.ServeHTTP(w, r)
}

// strict says that versitygw stands for AWS. It compares a DELETE's If-Match with
// what is there, but not at one moment with the deletion, and accepts one of an
// object that does not exist. The proxy makes up for that.
func (s setup) strict() bool { return s.objects.conforming && !s.unknown }

func strictly(t testing.TB, server *testservice.Server) faultproxy.Middleware {
	objects := s3Client(t, server, server.Endpoint)
	transportOf(objects.Options().HTTPClient).DisableKeepAlives = true // a test may look at what is left before it ends
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == "DELETE" && r.Header.Get("If-Match") != "" {
			key := strings.TrimPrefix(r.URL.Path, "/"+place+"/")
			if _, err := objects.HeadObject(r.Context(), &sdk.HeadObjectInput{Bucket: aws.String(place), Key: &key}); err != nil {
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
				return
			}
		}
		forward.ServeHTTP(w, r)
	}
}

var inOrder sync.Map // a *sync.RWMutex for each object

// orderly lets nobody touch an object while it is changed: versitygw compares conditions
// before it changes anything, and reads the ETag before the content, so that a read
// may have the one of before a change and the other of after it.
func orderly(server *testservice.Server) faultproxy.Middleware {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		reply := httptest.NewRecorder() // passing it on may take long, or deliver r again
		func() {
			mu, _ := inOrder.LoadOrStore(server.Addr+r.URL.Path, new(sync.RWMutex))
			rw := mu.(*sync.RWMutex)
			var l sync.Locker = rw
			if r.Method == "GET" || r.Method == "HEAD" {
				l = rw.RLocker()
			}
			l.Lock()
			defer l.Unlock()
			forward.ServeHTTP(reply, r)
		}()
		maps.Copy(w.Header(), reply.Result().Header)
		w.WriteHeader(reply.Code)
		w.Write(reply.Body.Bytes())
	}
}

// add puts a rule to work in each proxy, and returns how often it has been applied.
func (w wire) add(rule faultproxy.Rule) (applied func() int) {
	var handles []*faultproxy.Handle
	for _, p := range w.proxies() {
		handles = append(handles, p.Add(rule))
	}
	return func() (n int) {
		for _, h := range handles {
			n += h.Applied()
		}
		return n
	}
}

// A client is a Backend with its connections.
type client struct {
	*s3.Backend
	transports []*http.Transport
	own        wire // proxies that no other client uses
}

// Close implements io.Closer: it closes the clients too, which the Backend was given.
func (c *client) Close() error {
	err := c.Backend.Close()
	for _, tr := range c.transports {
		tr.CloseIdleConnections()
	}
	for _, p := range c.own.proxies() {
		p.Close()
	}
	return err
}

// client opens a Backend whose requests go by w. change may change its configuration.
func (n *namespace) client(t testing.TB, w wire, change ...func(*s3.Config)) *client {
	t.Helper()
	var own wire
	if w.objects == nil && (n.proxied || n.objects.conforming || n.tables != nil) {
		own = n.wire(t)
		w = own
	}
	config := n.config
	objects := s3Client(t, n.server, endpoint(w.objects, n.server))
	c := &client{own: own, transports: []*http.Transport{transportOf(objects.Options().HTTPClient)}}
	config.Client = objects
	if n.tables != nil {
		config.DynamoDB = dynamoClient(t, n.tables, endpoint(w.tables, n.tables))
		c.transports = append(c.transports, transportOf(config.DynamoDB.Options().HTTPClient))
	}
	for _, f := range change {
		f(&config)
	}
	var err error
	if c.Backend, err = s3.New(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	c.SetDigestPatience(10*time.Millisecond, 300*time.Millisecond)
	return c
}

func transportOf(client any) *http.Transport {
	return client.(*http.Client).Transport.(*http.Transport)
}

func endpoint(p *faultproxy.Proxy, server *testservice.Server) string {
	if p != nil {
		return p.URL()
	}
	return server.Endpoint
}

// sdk returns the vendor's own clients, for what the package is not to do itself.
func (n *namespace) sdk(t testing.TB) (*sdk.Client, *dynamodb.Client) {
	if n.tables == nil {
		return s3Client(t, n.server, n.server.Endpoint), nil
	}
	return s3Client(t, n.server, n.server.Endpoint), dynamoClient(t, n.tables, n.tables.Endpoint)
}

// key returns the object of a workspace's state.
func (n *namespace) key(workspace string) string {
	if workspace == "default" {
		return n.config.Key
	}
	return n.config.WorkspaceKeyPrefix + "/" + workspace + "/" + n.config.Key
}

// lockKey returns the key of a workspace's lock item.
func (n *namespace) lockKey(workspace string) map[string]dbtypes.AttributeValue {
	return n.itemKey(workspace, "")
}

func (n *namespace) itemKey(workspace, suffix string) map[string]dbtypes.AttributeValue {
	return map[string]dbtypes.AttributeValue{"LockID": &dbtypes.AttributeValueMemberS{Value: place + "/" + n.key(workspace) + suffix}}
}

// put stores an object past the package.
func (n *namespace) put(t testing.TB, key, data string) {
	t.Helper()
	objects, _ := n.sdk(t)
	_, err := objects.PutObject(context.Background(), &sdk.PutObjectInput{Bucket: aws.String(place), Key: &key, Body: strings.NewReader(data)})
	if err != nil {
		t.Fatal(err)
	}
}

// item stores an item past the package.
func (n *namespace) item(t testing.TB, key map[string]dbtypes.AttributeValue, name, value string) {
	t.Helper()
	_, tables := n.sdk(t)
	item := map[string]dbtypes.AttributeValue{"LockID": key["LockID"], name: &dbtypes.AttributeValueMemberS{Value: value}}
	if _, err := tables.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String(place), Item: item}); err != nil {
		t.Fatal(err)
	}
}

// changes matches the requests that change something, but those to scratch objects.
func changes(r *http.Request) bool {
	_, op, isTable := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if isTable {
		return op == "PutItem" || op == "DeleteItem"
	}
	return (r.Method == "PUT" || r.Method == "DELETE") && !strings.Contains(r.URL.Path, ".statelatch-probe-")
}
