package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Options say who may do what, and how much. The zero Options are refused: nothing is
// served without authentication unless that is asked for by name.
type Options struct {
	// Auth finds out who sends a request: [Basic], [Bearer], [ClientCertificate],
	// [AnyOf] them, a function of your own, or, for everybody, [Anonymous].
	Auth Auth

	// Authorize says whether user may do action to a workspace; it is "" for List. Nil
	// lets whoever is authenticated do everything.
	Authorize func(user string, action Action, workspace string) bool

	// EmptyUnlock lets an UNLOCK that names no lock release whatever lock there is: the
	// force-unlock of Terraform, and of OpenTofu before 1.10, sends nothing of the ID
	// that its user typed. Without it, such a request is refused.
	EmptyUnlock bool

	// MaxSize is the largest state that is taken, in bytes; 0 means 64 MiB. A state is
	// held in memory while it is received.
	MaxSize int64

	// Timeout is how long one request may be at work on the Backend; 0 means 2 minutes.
	Timeout time.Duration

	// BodyTimeout is how long a client may take to send a request's body, with a second
	// more for each 16 KiB that arrived, and to take each 256 KiB of a reply; 0 means 30 s.
	BodyTimeout time.Duration

	// Grace is how long Serve lets requests finish when its context has ended; 0 means
	// 30 s.
	Grace time.Duration

	// Log gets a line for each request, with the error of one that was refused. Nil logs
	// nothing.
	Log *slog.Logger
}

// An Action is what somebody wants to do, for Options.Authorize.
type Action string

// The actions.
const (
	Read  Action = "read"  // a state
	Write Action = "write" // a state, or delete it
	Lock  Action = "lock"  // lock, unlock, renew, see the holder
	List  Action = "list"  // the names of the workspaces
)

// Server serves the states of one Backend. It is an [http.Handler], and keeps nothing
// of its own but what spares a client a doubt: another beside it, or after it, goes on
// where it stopped.
type Server struct {
	backend  backend.Backend
	locker   lock.Locker // nil where the Backend is none
	tells    atomic.Bool // the Backend has told who holds a lock
	opts     Options
	calls    calls
	arrivals arrivals
	killed   context.Context
	kill     context.CancelFunc
}

var _ http.Handler = (*Server)(nil)

// New returns a Server of b, which the caller closes when the Server has ended.
func New(b backend.Backend, opts Options) (*Server, error) {
	if opts.Auth == nil {
		return nil, errors.New("server: Options.Auth is not set; to serve everybody, set it to server.Anonymous")
	}
	if opts.MaxSize < 0 || opts.Timeout < 0 || opts.BodyTimeout < 0 || opts.Grace < 0 {
		return nil, errors.New("server: a size or a time in Options is below zero")
	}
	for _, o := range []struct {
		d        *time.Duration
		default_ time.Duration
	}{{&opts.Timeout, 2 * time.Minute}, {&opts.BodyTimeout, 30 * time.Second}, {&opts.Grace, 30 * time.Second}} {
		if *o.d == 0 {
			*o.d = o.default_
		}
	}
	if opts.MaxSize == 0 {
		opts.MaxSize = 64 << 20
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{backend: b, opts: opts}
	s.locker, _ = backend.As[lock.Locker](b)
	s.killed, s.kill = context.WithCancel(context.Background())
	return s, nil
}
