package testservice

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A call is a request to a real server.
type call struct {
	method, path string
	header       http.Header
	body         string
}

// An api is how one kind of server is written to and looked at: a bucket, a table,
// a container, a key.
type api struct {
	create, look func(name string) call
	sign         func(r *http.Request, body string, s *Server)
	spoil        func(s *Server) // makes credentials wrong; nil if the server takes any
}

var (
	s3API = api{
		create: func(name string) call { return call{method: "PUT", path: "/" + name} },
		look:   func(name string) call { return call{method: "GET", path: "/" + name + "?list-type=2"} },
		sign:   awsSign("s3"),
		spoil:  func(s *Server) { s.SecretKey = "wrong" },
	}
	dynamoAPI = api{
		create: func(name string) call {
			return dynamo("CreateTable", `{"TableName":"`+name+`","BillingMode":"PAY_PER_REQUEST",
				"AttributeDefinitions":[{"AttributeName":"LockID","AttributeType":"S"}],
				"KeySchema":[{"AttributeName":"LockID","KeyType":"HASH"}]}`)
		},
		look: func(name string) call { return dynamo("DescribeTable", `{"TableName":"`+name+`"}`) },
		sign: awsSign("dynamodb"),
	}
	gcsAPI = api{
		create: func(name string) call {
			return call{"POST", "/storage/v1/b?project=p", http.Header{"Content-Type": {"application/json"}}, `{"name":"` + name + `"}`}
		},
		look: func(name string) call { return call{method: "GET", path: "/storage/v1/b/" + name} },
		sign: func(*http.Request, string, *Server) {},
	}
	azureAPI = api{
		create: func(name string) call { return call{method: "PUT", path: "/" + name + "?restype=container"} },
		look:   func(name string) call { return call{method: "GET", path: "/" + name + "?restype=container"} },
		sign:   azureSign,
		spoil:  func(s *Server) { s.SecretKey = base64.StdEncoding.EncodeToString([]byte("wrong")) },
	}
	consulAPI = api{
		// A session needs more of a Consul that has just started than a key does.
		create: func(name string) call {
			return call{method: "PUT", path: "/v1/session/create", body: `{"Name":"` + name + `"}`}
		},
		look:  func(name string) call { return call{method: "GET", path: "/v1/session/list?filter=Name==" + name} },
		sign:  func(r *http.Request, _ string, s *Server) { r.Header.Set("X-Consul-Token", s.Token) },
		spoil: func(s *Server) { s.Token = uuid() },
	}
)

var kinds = []struct {
	name string
	kind Kind
	api  api
}{
	{"MinIO", MinIO, s3API},
	{"MinIOTLS", MinIOTLS, s3API},
	{"VersityGW", VersityGW, s3API},
	{"S3rver", S3rver, api{s3API.create, s3API.look, s3API.sign, nil}},
	{"Dynalite", Dynalite, dynamoAPI},
	{"Minidyn", Minidyn, dynamoAPI},
	{"FakeGCS", FakeGCS, gcsAPI},
	{"GCSEmulator", GCSEmulator, gcsAPI},
	{"Azurite", Azurite, azureAPI},
	{"AzuriteTLS", AzuriteTLS, azureAPI},
	{"Consul", Consul, consulAPI},
}

// Each real server works from the moment that Run returns, with what it hands out
// and with nothing else, and keeps over a restart what it says that it keeps.
func TestKinds(t *testing.T) {
	for _, tt := range kinds {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Run(t, tt.kind)
			name := Name(t)
			if status, body := do(t, s, tt.api, tt.api.create(name)); status/100 != 2 {
				t.Fatalf("create: %d %s", status, body)
			}
			if !found(t, s, tt.api, name) {
				t.Fatal("what was created is not there")
			}
			if tt.api.spoil != nil {
				wrong := &Server{Endpoint: s.Endpoint, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Region: s.Region, CA: s.CA}
				tt.api.spoil(wrong)
				// Azurite with OAuth answers 400, the others 403.
				if status, body := do(t, wrong, tt.api, tt.api.look(name)); status/100 != 4 {
					t.Errorf("wrong credentials: %d %s", status, body)
				}
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			if got := found(t, s, tt.api, name); got == s.InMemory {
				t.Errorf("after a restart, what was created is there: %v; InMemory: %v", got, s.InMemory)
			}
			s.Stop()
			gone(t, s.Addr, s.dir)
		})
	}
}

func found(t *testing.T, s *Server, a api, name string) bool {
	t.Helper()
	status, body := do(t, s, a, a.look(name))
	return status == 200 && body != "[]"
}

// do sends one request, and gives the server no second chance.
func do(t *testing.T, s *Server, a api, c call) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, s.Endpoint+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.header != nil {
		req.Header = c.header
	}
	a.sign(req, c.body, s)
	transport := s.transport()
	transport.ResponseHeaderTimeout = 0
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(bytes.TrimSpace(data))
}

// gone checks that a server has left nothing.
func gone(t *testing.T, addr, dir string) {
	t.Helper()
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Errorf("something still listens on %s", addr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its data: %v; want none", err)
	}
}

func dynamo(operation, body string) call {
	return call{"POST", "/", http.Header{
		"Content-Type": {"application/x-amz-json-1.0"},
		"X-Amz-Target": {"DynamoDB_20120810." + operation},
	}, body}
}

// awsSign signs by Signature Version 4, as far as these requests need it.
func awsSign(service string) func(*http.Request, string, *Server) {
	return func(r *http.Request, body string, s *Server) {
		now := time.Now().UTC().Format("20060102T150405Z")
		scope := now[:8] + "/" + s.Region + "/" + service + "/aws4_request"
		hash := hexSHA256(body)
		r.Header.Set("X-Amz-Date", now)
		r.Header.Set("X-Amz-Content-Sha256", hash)
		signed := "host;x-amz-content-sha256;x-amz-date"
		canonical := strings.Join([]string{r.Method, r.URL.Path, r.URL.RawQuery,
			"host:" + r.URL.Host, "x-amz-content-sha256:" + hash, "x-amz-date:" + now, "", signed, hash}, "\n")
		key := []byte("AWS4" + s.SecretKey)
		for part := range strings.SplitSeq(scope, "/") {
			key = mac(key, part)
		}
		signature := mac(key, "AWS4-HMAC-SHA256\n"+now+"\n"+scope+"\n"+hexSHA256(canonical))
		r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
			s.AccessKey, scope, signed, signature))
	}
}

// azureSign signs with the account's key, as far as these requests need it.
func azureSign(r *http.Request, _ string, s *Server) {
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header.Set("X-Ms-Date", date)
	r.Header.Set("X-Ms-Version", "2021-12-02")
	text := r.Method + strings.Repeat("\n", 12) + "x-ms-date:" + date + "\nx-ms-version:2021-12-02\n" +
		"/" + s.AccessKey + r.URL.Path + "\nrestype:container"
	key, _ := base64.StdEncoding.DecodeString(s.SecretKey)
	r.Header.Set("Authorization", "SharedKey "+s.AccessKey+":"+base64.StdEncoding.EncodeToString(mac(key, text)))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
