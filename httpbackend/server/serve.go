package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve serves the connections of l until ctx ends. It then takes no more, lets the
// requests that are under way finish, but cuts them short after Options.Grace, and
// returns nil when nothing of it runs any longer. It closes l. For HTTPS, give it a
// [crypto/tls.NewListener].
//
// A Server whose requests had to be cut short serves no more.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var busy sync.WaitGroup // Close does not wait for what it cuts off
	handler, connected := counting(&busy, s)
	server := &http.Server{
		Handler:           handler,
		ConnState:         connected,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	var failed error
	select {
	case failed = <-done: // it takes no more; those that are open are still served
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		s.kill()
		err = errors.Join(errors.New("server: requests were cut short"), server.Close())
	}
	if failed == nil {
		failed = <-done
	}
	if !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(failed, err)
	}
	busy.Wait()
	return err
}

// counting returns a handler, and what is told of connections, that keep busy waiting
// as long as either goes on: a handler of HTTP/2 may outlive its connection.
func counting(busy *sync.WaitGroup, h http.Handler) (http.Handler, func(net.Conn, http.ConnState)) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		busy.Add(1)
		defer busy.Done()
		h.ServeHTTP(w, r)
	}
	return http.HandlerFunc(handler), func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			busy.Add(1)
		case http.StateClosed, http.StateHijacked:
			busy.Done()
		case http.StateActive, http.StateIdle:
		}
	}
}
