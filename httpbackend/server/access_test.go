package server_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/memory"
)

func TestAuth(t *testing.T) {
	if _, err := server.New(memory.New(), server.Options{}); err == nil || !strings.Contains(err.Error(), "Anonymous") {
		t.Errorf("without Auth: %v", err)
	}
	s := serve(t, memory.New(), server.Options{
		Auth: server.AnyOf(server.Basic(map[string]string{"ann": "secret", "empty": ""}), server.Bearer(map[string]string{"ci": "token", "none": ""}), server.ClientCertificate),
	})
	for authorization, status := range map[string]int{
		"":                             401,
		"Basic YW5uOnNlY3JldA==":       404, // ann:secret
		"Basic YW5uOnNlY3JldHM=":       401, // ann:secrets
		"Basic YW5uOg==":               401, // ann:
		"Basic Ym9iOnNlY3JldA==":       401, // bob:secret
		"Basic Og==":                   401,
		"Basic ZW1wdHk6":               401, // empty:
		"Basic rubbish":                401,
		"Bearer token":                 404,
		"bearer token":                 404,
		"Bearer tokens":                401,
		"Bearer ":                      401,
		"Bearer":                       401,
		"Digest username=\"ann\"":      401,
		"Basic YW5uOnNlY3JldA==\r\nX:": 401,
	} {
		for _, target := range []string{"/prod", "/a/b"} {
			reply := request{method: "GET", target: target, header: http.Header{"Authorization": {authorization}}}.to(s)
			want := status
			if status == 404 && target == "/a/b" {
				want = 400 // which those who are not let in do not learn
			}
			if reply.Code != want || status == 401 && len(reply.Header()["Www-Authenticate"]) == 0 {
				t.Errorf("Authorization %q, %s: %d %s", authorization, target, reply.Code, reply.Body)
			}
		}
	}
}

func TestAuthorize(t *testing.T) {
	type ask struct {
		user, workspace string
		action          server.Action
	}
	var asked ask
	allow := false
	s := serve(t, memory.New(), server.Options{
		Auth: func(*http.Request) (string, error) { return "ann", nil },
		Authorize: func(user string, action server.Action, workspace string) bool {
			asked = ask{user, workspace, action}
			return allow
		},
	})
	for _, c := range []struct {
		method, target string
		want           ask
	}{
		{"GET", "/", ask{"ann", "", server.List}},
		{"GET", "/prod", ask{"ann", "prod", server.Read}},
		{"HEAD", "/prod", ask{"ann", "prod", server.Read}},
		{"GET", "/prod?lock", ask{"ann", "prod", server.Lock}},
		{"POST", "/prod", ask{"ann", "prod", server.Write}},
		{"PUT", "/prod", ask{"ann", "prod", server.Write}},
		{"DELETE", "/prod", ask{"ann", "prod", server.Write}},
		{"LOCK", "/prod", ask{"ann", "prod", server.Lock}},
		{"LOCK", "/prod?renew", ask{"ann", "prod", server.Lock}},
		{"UNLOCK", "/prod", ask{"ann", "prod", server.Lock}},
	} {
		allow, asked = false, ask{}
		reply := request{method: c.method, target: c.target, body: record}.to(s)
		if reply.Code != http.StatusForbidden || asked != c.want {
			t.Errorf("%s %s: %d, and %+v was asked", c.method, c.target, reply.Code, asked)
		}
		allow = true
		if reply := (request{method: c.method, target: c.target, body: record}).to(s); reply.Code == http.StatusForbidden {
			t.Errorf("%s %s: %d although allowed", c.method, c.target, reply.Code)
		}
	}
}

// TestLog: each request has a line, and no line a secret.
func TestLog(t *testing.T) {
	var text bytes.Buffer
	store := memory.New()
	s := serve(t, store, server.Options{
		Auth: server.Basic(map[string]string{"ann": "canary"}),
		Log:  slog.New(slog.NewJSONHandler(&text, nil)),
	})
	send := func(method, target, body, password string) string {
		r := request{method: method, target: target, body: body, header: http.Header{"X-Api-Key": {"canary"}}}
		r.header.Set("Authorization", "Basic "+password)
		return r.to(s).Header().Get("X-Request-Id")
	}
	ids := []string{
		send("GET", "/prod?ID=canary&token=canary", "", "YW5uOmNhbmFyeQ=="),
		send("GET", "/prod?ID=canary", "", "Y2FuYXJ5OmNhbmFyeQ=="), // canary:canary
		send("POST", "/prod?ID=canary", "canary", "YW5uOmNhbmFyeQ=="),
		send("POST", "/prod%7f/canary", "canary", "YW5uOmNhbmFyeQ=="),
		send("LOCK", "/prod", record, "YW5uOmNhbmFyeQ=="),
		send("LOCK", "/prod", strings.Replace(record, "dc4", "abc", 1), "YW5uOmNhbmFyeQ=="),
	}
	if strings.Contains(text.String(), "canary") {
		t.Error("a secret is in the log")
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != len(ids) {
		t.Fatalf("%d lines for %d requests:\n%s", len(lines), len(ids), &text)
	}
	for i, line := range lines {
		var entry struct {
			ID, Method, Workspace, User, Remote string
			Status                              int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.ID != ids[i] || entry.Status == 0 || entry.Method == "" {
			t.Errorf("%s (%v)", line, err)
		}
	}
}
