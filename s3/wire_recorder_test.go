package s3_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/testservice"
)

// A recorder answers what our requests need to go on, and remembers them. It is no
// stand-in for a service: what a service does with them, the real servers show.
type recorder struct {
	URL    string // http://127.0.0.1:…
	TLS    string // https://127.0.0.1:…, with a certificate of CA
	Proxy  string // http://127.0.0.1:…, of a proxy that is everywhere at once
	CAFile string

	ca *testservice.CA

	mu       sync.Mutex
	requests []recorded
	refuse   func(recorded) (status int, body string) // 0 = answer as usual
	open     map[net.Conn]bool
	gone     *sync.Cond // signalled when a connection is
}

// A recorded request.
type recorded struct {
	*http.Request
	Body  string
	Form  url.Values // of a request to STS
	Proxy string     // how it came by the proxy: "" = not, "CONNECT", or "absolute"
}

// what names a request, for the order in which they came.
func (r recorded) what() string {
	_, target, isTable := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case isTable:
		return target
	case r.Form.Get("Action") != "":
		return r.Form.Get("Action")
	}
	return r.Method + " " + r.URL.Path
}

// scope returns the parts of the signature: access key, date, region, service.
func (r recorded) scope() (accessKey, region, service string) {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	rest, _, _ = strings.Cut(rest, ",")
	parts := strings.Split(rest, "/")
	if len(parts) != 5 {
		return "", "", ""
	}
	return parts[0], parts[2], parts[3]
}

func record(t *testing.T) *recorder {
	t.Helper()
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{ca: ca, open: map[net.Conn]bool{}, CAFile: write(t, t.TempDir(), "ca.pem", string(ca.PEM))}
	r.gone = sync.NewCond(&r.mu)
	start := func(tlsConfig *tls.Config) string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
		server.Config.ConnState = r.count
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it
		if server.TLS = tlsConfig; tlsConfig == nil {
			server.Start()
		} else {
			server.StartTLS()
		}
		t.Cleanup(server.Close)
		return server.URL
	}
	r.URL, r.TLS = start(nil), start(&tls.Config{Certificates: []tls.Certificate{certificate}})
	r.Proxy = r.URL
	return r
}

func (r *recorder) count(conn net.Conn, state http.ConnState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch state {
	case http.StateNew:
		r.open[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(r.open, conn)
		r.gone.Broadcast()
	}
}

// closed returns when no connection is open any more.
func (r *recorder) closed(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) == 0 {
		return
	}
	late := time.AfterFunc(10*time.Second, func() {
		t.Error("there are connections left")
		r.mu.Lock()
		defer r.mu.Unlock()
		clear(r.open)
		r.gone.Broadcast()
	})
	defer late.Stop()
	for len(r.open) > 0 {
		r.gone.Wait()
	}
}

// take returns the requests since it was called last.
func (r *recorder) take() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests := r.requests
	r.requests = nil
	return requests
}

// order returns what take does, by their names alone.
func (r *recorder) order() (names []string) {
	for _, request := range r.take() {
		names = append(names, request.what())
	}
	return names
}

// find returns the requests of one name.
func find(requests []recorded, what string) []recorded {
	return slices.DeleteFunc(slices.Clone(requests), func(r recorded) bool { return r.what() != what })
}

// serve takes requests to the server, to the proxy, and CONNECT.
func (r *recorder) serve(w http.ResponseWriter, in *http.Request) {
	if in.Method == http.MethodConnect {
		r.tunnel(w, in)
		return
	}
	proxy := ""
	if in.URL.IsAbs() {
		proxy = "absolute"
	}
	r.answer(w, in, proxy)
}

// tunnel ends the TLS of whatever host is asked for.
func (r *recorder) tunnel(w http.ResponseWriter, in *http.Request) {
	host, _, _ := net.SplitHostPort(in.Host)
	certificate, err := r.ca.Issue(host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	inner := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
	defer inner.Close()
	for reader := bufio.NewReader(inner); ; {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		reply := httptest.NewRecorder()
		r.answer(reply, request, "CONNECT")
		result := reply.Result()
		result.ContentLength = int64(reply.Body.Len())
		if result.Write(inner) != nil {
			return
		}
	}
}

func (r *recorder) answer(w http.ResponseWriter, in *http.Request, proxy string) {
	body, _ := io.ReadAll(in.Body)
	q := recorded{Request: in, Body: string(body), Proxy: proxy}
	if strings.HasPrefix(in.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		q.Form, _ = url.ParseQuery(q.Body)
	}
	r.mu.Lock()
	r.requests = append(r.requests, q)
	refuse := r.refuse
	r.mu.Unlock()
	status, text := http.StatusOK, ""
	if refuse != nil {
		status, text = refuse(q)
	}
	if refuse == nil || status == 0 {
		status, text = reply(q)
	}
	w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
	if in.Method == "PUT" {
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
	}
	if q.Header.Get("X-Amz-Target") != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text))), 10))
	}
	w.WriteHeader(status)
	if in.Method != "HEAD" {
		io.Copy(w, bytes.NewBufferString(text))
	}
}

const never = "2100-01-01T00:00:00Z" // when credentials expire

// reply is what each service says.
func reply(r recorded) (status int, body string) {
	switch action := r.Form.Get("Action"); action {
	case "":
	case "GetCallerIdentity":
		return 200, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	default:
		return 200, fmt.Sprintf(`<%s><%[2]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>s</SecretAccessKey>`+
			`<SessionToken>of %[2]s</SessionToken><Expiration>%s</Expiration></Credentials></%[2]sResult></%[1]s>`, action+"Response", action, never)
	}
	const metadata = "/latest/meta-data/iam/security-credentials/"
	switch r.what() {
	case "PutItem", "GetItem", "DeleteItem":
		return 200, "{}"
	case "PUT /latest/api/token":
		return 200, "of the metadata"
	case "GET " + metadata:
		return 200, "machine"
	case "GET " + metadata + "machine":
		return 200, `{"Code":"Success","AccessKeyId":"Metadata","SecretAccessKey":"s","Token":"t","Expiration":"` + never + `"}`
	case "GET /federation/credentials":
		return 200, `{"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"s","sessionToken":"t","expiration":4102444800000}}`
	}
	switch r.Method {
	case "PUT":
		return 200, ""
	case "DELETE":
		return 204, ""
	}
	return 404, "<Error><Code>NoSuchKey</Code></Error>"
}
