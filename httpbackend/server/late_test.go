package server_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/memory"
)

// slow is a Backend in which, once, something happens before its Stat or its Write does
// anything.
type slow struct {
	*memory.Backend
	stat, write func()
}

func (s *slow) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	once(&s.stat)
	return s.Backend.Stat(ctx, workspace)
}

func (s *slow) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	once(&s.write)
	return s.Backend.Write(ctx, workspace, data, cond)
}

func once(f *func()) {
	if do := *f; do != nil {
		*f = nil
		do()
	}
}

// TestLatePost: a POST that its sender has given up, and made again, and gone on from,
// does not undo what came after it; one that is still waited for succeeds.
func TestLatePost(t *testing.T) {
	for name, lock := range map[string]string{"with a lock": "?ID=" + lockID, "without locks": ""} {
		for method, hook := range map[string]func(*slow) *func(){
			"Stat":  func(s *slow) *func() { return &s.stat },
			"Write": func(s *slow) *func() { return &s.write },
		} {
			t.Run(name+", slow "+method, func(t *testing.T) {
				store := &slow{Backend: memory.New()}
				s := serve(t, store, server.Options{})
				post := func(body string, status int) {
					t.Helper()
					reply := request{method: "POST", target: "/prod" + lock, body: body}.to(s)
					if reply.Code != status {
						t.Errorf("POST of %s: %d %s, want %d", body, reply.Code, reply.Body, status)
					}
				}
				stored := func(want string) {
					t.Helper()
					if st, err := store.Read(t.Context(), "prod"); err != nil || string(st.Data) != want {
						t.Errorf("the state is %q, %v; want %q", st.Data, err, want)
					}
				}
				if lock != "" {
					request{method: "LOCK", target: "/prod", body: record}.to(s)
				}
				post("serial 4", http.StatusOK)

				*hook(store) = func() {
					post("serial 5", http.StatusOK)
					post("serial 6", http.StatusOK)
				}
				post("serial 5", http.StatusServiceUnavailable)
				stored("serial 6")

				*hook(store) = func() { post("serial 7", http.StatusOK) }
				post("serial 7", http.StatusOK)
				stored("serial 7")

				*hook(store) = func() { post("another's", http.StatusOK) }
				post("serial 8", http.StatusServiceUnavailable)
				post("serial 8", http.StatusOK) // as Terraform does
				stored("serial 8")
			})
		}
	}
}
