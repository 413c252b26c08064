package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Serve serves the connections of l until ctx ends. It then takes no more, lets the
// requests that are under way finish, but cuts them short after Options.Grace, and
// returns nil when nothing of it runs any longer. It closes l. For HTTPS, give it a
// [crypto/tls.NewListener].
//
// A Server whose requests had to be cut short serves no more.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		s.kill()
		err = errors.Join(errors.New("server: requests were cut short"), server.Close())
	}
	if failed := <-done; !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, failed)
	}
	s.busy.Wait()
	return err
}
