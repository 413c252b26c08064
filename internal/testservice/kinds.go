package testservice

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// A Kind is one of the servers below.
type Kind struct {
	name     string // in internal/services
	https    bool
	inMemory bool
	ports    int                                  // beside that of the endpoint
	login    func(s *Server)                      // sets what s is to accept
	command  func(s *Server) (args, env []string) // env is added to PATH and a home of its own
	path     string                               // where it is asked whether it is ready
	ready    func(r *http.Response, body string) bool
	find     func(name string) (string, error) // services.Path, except in our own tests
	patience time.Duration                     // 30 s, except in our own tests
}

// The servers. What each honours of the service that it stands for, and what not,
// is for the tests that use it to say.
var (
	// MinIO is S3, with a key for SSE-KMS.
	MinIO = Kind{name: "minio", login: awsKeys, command: minio, path: "/minio/health/ready", ready: minioReady}

	// MinIOTLS is MinIO over HTTPS, which SSE-C needs.
	MinIOTLS = Kind{name: "minio", https: true, login: awsKeys, command: minio, path: "/minio/health/ready", ready: minioReady}

	// VersityGW is S3, without versions.
	VersityGW = Kind{name: "versitygw", login: awsKeys, ready: anyAnswer,
		command: func(s *Server) (args, env []string) {
			return []string{"--port", s.Addr, "--quiet", "posix", s.data()},
				[]string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}
		}}

	// S3rver is an S3 that ignores every condition. Its keys are always the same. It
	// answers a PUT without waiting for its own write of the object, which one thread
	// for files keeps before those that it waits for.
	S3rver = Kind{name: "s3rver", ready: anyAnswer,
		login: func(s *Server) { s.AccessKey, s.SecretKey, s.Region = "S3RVER", "S3RVER", "us-east-1" },
		command: func(s *Server) (args, env []string) {
			return []string{"-d", s.data(), "-a", s.host(), "-p", s.port(), "--silent"}, []string{"UV_THREADPOOL_SIZE=1"}
		}}

	// Dynalite is DynamoDB. It takes any keys.
	Dynalite = Kind{name: "dynalite", login: awsKeys, ready: anyAnswer,
		command: func(s *Server) (args, env []string) {
			return []string{"--host", s.host(), "--port", s.port(), "--path", s.data(),
				"--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"}, nil
		}}

	// Minidyn is DynamoDB, in memory. It takes any keys.
	Minidyn = Kind{name: "minidyn", inMemory: true, login: awsKeys, ready: anyAnswer,
		command: func(s *Server) (args, env []string) { return []string{"-addr", s.Addr}, nil }}

	// FakeGCS is Google Cloud Storage, in memory. It asks for no credentials.
	FakeGCS = Kind{name: "fakegcs", inMemory: true, path: "/_internal/healthcheck", ready: status200,
		command: func(s *Server) (args, env []string) {
			return []string{"-scheme", "http", "-host", s.host(), "-port", s.port(), "-backend", "memory",
				"-public-host", s.Addr, "-external-url", "http://" + s.Addr, "-log-level", "warn"}, nil
		}}

	// GCSEmulator is Google Cloud Storage, in memory. It asks for no credentials.
	GCSEmulator = Kind{name: "gcsemulator", inMemory: true, ready: anyAnswer,
		command: func(s *Server) (args, env []string) {
			return []string{"-host", s.host(), "-port", s.port(), "-verbose=false"}, nil
		}}

	// Azurite is Azure Blob Storage. It saves every 5 s, so Kill loses what is newer.
	Azurite = Kind{name: "azurite", login: azureKey, command: azurite, ready: anyAnswer}

	// AzuriteTLS is Azurite over HTTPS, where it takes bearer tokens too. It looks at
	// their audience, issuer and times, but at no signature.
	AzuriteTLS = Kind{name: "azurite", https: true, login: azureKey, command: azurite, ready: anyAnswer}

	// Consul is one agent, in memory, that denies everything to those without a token.
	Consul = Kind{name: "consul", inMemory: true, ports: 2, login: func(s *Server) { s.Token = uuid() }, command: consul,
		path: "/v1/health/service/consul?passing", ready: consulReady}
)

// awsKeys sets keys as long as MinIO takes them.
func awsKeys(s *Server) {
	s.AccessKey, s.SecretKey, s.Region = rand.Text()[:20], rand.Text(), "us-east-1"
}

func minio(s *Server) (args, env []string) {
	s.KMSKey = "test-key"
	return []string{"server", "--quiet", "--address", s.Addr, "--certs-dir", s.certs(), s.data()},
		[]string{
			"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
			"MINIO_KMS_SECRET_KEY=" + s.KMSKey + ":" + randomBase64(32),
			"MINIO_BROWSER=off", "MINIO_UPDATE=off",
		}
}

// minioReady: until its disks are ready, MinIO answers 200 with this header.
func minioReady(r *http.Response, body string) bool {
	return status200(r, body) && r.Header.Get("X-Minio-Server-Status") == ""
}

// azureKey also puts the account into the endpoint, as Azurite has it.
func azureKey(s *Server) {
	s.AccessKey, s.SecretKey = "devstoreaccount1", randomBase64(64)
	s.Endpoint += "/" + s.AccessKey
}

func azurite(s *Server) (args, env []string) {
	args = []string{"--silent", "--blobHost", s.host(), "--blobPort", s.port(), "--location", s.data(),
		"--skipApiVersionCheck", "--disableTelemetry"}
	if s.CA != nil {
		args = append(args, "--oauth", "basic",
			"--cert", filepath.Join(s.certs(), certFile), "--key", filepath.Join(s.certs(), keyFile))
	}
	return args, []string{"AZURITE_ACCOUNTS=" + s.AccessKey + ":" + s.SecretKey}
}

func consul(s *Server) (args, env []string) {
	acl := fmt.Sprintf(`acl { enabled = true, default_policy = "deny", tokens { initial_management = %q, agent = %[1]q } }
limits { http_max_conns_per_client = 10000 }`, s.Token) // all clients have one address
	return []string{"agent", "-dev", "-bind", s.host(), "-client", s.host(), "-http-port", s.port(),
		"-serf-lan-port", strconv.Itoa(s.ports[0]), "-server-port", strconv.Itoa(s.ports[1]), "-serf-wan-port", "-1",
		"-grpc-port", "-1", "-grpc-tls-port", "-1", "-dns-port", "-1", "-hcl", acl, "-log-level", "warn"}, nil
}

// consulReady: the leader has the tokens, and the node that sessions belong to.
func consulReady(r *http.Response, body string) bool { return status200(r, body) && body != "[]" }

func anyAnswer(*http.Response, string) bool { return true }

func status200(r *http.Response, _ string) bool { return r.StatusCode == http.StatusOK }

func randomBase64(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
