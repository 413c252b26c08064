package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
)

// A serving is the JSON of "serve": printed when it listens.
type serving struct {
	Address string `json:"address"` // "https://127.0.0.1:8443"
}

// serveFlags say how to serve.
type serveFlags struct {
	listen                      string
	cert, key, clientCA, basic  string
	anonymous, plain, emptyFree bool
}

func (c *cli) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the backend to the http backend of Terraform and OpenTofu",
		Long: `Serve the states of all workspaces over HTTP, in the protocol of the http
backend that every Terraform and OpenTofu has. Each workspace has an address of
its own:

  terraform {
    backend "http" {
      address        = "https://HOST:PORT/WORKSPACE"
      lock_address   = "https://HOST:PORT/WORKSPACE"
      unlock_address = "https://HOST:PORT/WORKSPACE"
    }
  }

Nobody is let in who is not known: by a user name and password, which Terraform
takes from TF_HTTP_USERNAME and TF_HTTP_PASSWORD, or by a certificate that
--client-ca has signed; if both are given, either will do. --anonymous lets
everybody in.

Passwords and states are not sent in the clear to other machines: without
--tls-cert only a loopback address is served, unless --plain-http says that
something in front speaks TLS.

The file of passwords has a line USER:PASSWORD for each user, and must not be
readable by others.

A state may have up to 1 GiB. If the backend is itself a plain HTTP server,
which does not tell who holds a lock, nothing can be locked.

It prints its address when it listens, and logs each request to standard error.
Ctrl-C or SIGTERM lets the requests that are under way finish; the exit code is
0 then.`,
		Example: example(
			"statelatch serve --basic-auth-file users \\",
			"    --url 'local:states/terraform.tfstate?workspace_dir=states/workspaces'",
			"statelatch serve --listen :8443 --tls-cert cert.pem --tls-key key.pem \\",
			"    --client-ca clients.pem --chdir /srv/network",
		),
		Args: arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.place.workspace != "" {
				return usagef("serve serves all workspaces, without --workspace")
			}
			opts, err := c.serverOptions(cmd.Context(), f)
			if err != nil {
				return err
			}
			return c.on(cmd.Context(), func(b backend.Backend, _ string) error {
				return c.serve(cmd.Context(), b, f, opts)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to listen on")
	flags.StringVar(&f.basic, "basic-auth-file", "", "file of users and passwords")
	flags.StringVar(&f.cert, "tls-cert", "", "certificate, PEM")
	flags.StringVar(&f.key, "tls-key", "", "its private key, PEM")
	flags.StringVar(&f.clientCA, "client-ca", "", "who signs the certificates of clients, PEM")
	flags.BoolVar(&f.anonymous, "anonymous", false, "let everybody in")
	flags.BoolVar(&f.plain, "plain-http", false, "serve other machines without TLS")
	flags.BoolVar(&f.emptyFree, "allow-empty-unlock", false, "let terraform force-unlock, which sends no ID, release any lock")
	for flag, name := range map[string]string{
		"listen": "HOST:PORT", "basic-auth-file": "FILE", "tls-cert": "FILE", "tls-key": "FILE", "client-ca": "FILE",
	} {
		named(flags.Lookup(flag), name)
	}
	return cmd
}

func (c *cli) serverOptions(ctx context.Context, f serveFlags) (server.Options, error) {
	opts := server.Options{
		EmptyUnlock: f.emptyFree, Log: slog.New(slog.NewTextHandler(c.stderr, nil)),
		MaxSize: maxState,
	}
	if c.json {
		opts.Log = slog.New(slog.NewJSONHandler(c.stderr, nil))
	}
	var auths []server.Auth
	if f.basic != "" {
		users, err := interruptible(ctx, func() (map[string]string, error) { return readUsers(f.basic) })
		if err != nil {
			return opts, err
		}
		auths = append(auths, server.Basic(users))
	}
	if f.clientCA != "" {
		auths = append(auths, server.ClientCertificate)
	}
	switch {
	case (f.cert == "") != (f.key == ""):
		return opts, usagef("--tls-cert and --tls-key belong together")
	case f.clientCA != "" && f.cert == "":
		return opts, usagef("--client-ca needs --tls-cert and --tls-key")
	case f.anonymous && auths != nil:
		return opts, usagef("--anonymous excludes --basic-auth-file and --client-ca")
	case f.anonymous:
		auths = []server.Auth{server.Anonymous}
	case auths == nil:
		return opts, usagef("say who is let in: --basic-auth-file, --client-ca, or --anonymous")
	}
	opts.Auth = server.AnyOf(auths...)
	return opts, nil
}

func (c *cli) serve(ctx context.Context, b backend.Backend, f serveFlags, opts server.Options) error {
	handler, err := server.New(b, opts)
	if err != nil {
		return err
	}
	l, address, err := listen(ctx, f)
	if err != nil {
		return err
	}
	if err := c.say(serving{address}, "Serving %s/WORKSPACE", address); err != nil {
		return errors.Join(err, l.Close())
	}
	return handler.Serve(ctx, l)
}

// listen returns a listener, and the URL of what it listens to.
func listen(ctx context.Context, f serveFlags) (net.Listener, string, error) {
	var config *tls.Config
	if f.cert != "" {
		var err error
		if config, err = interruptible(ctx, func() (*tls.Config, error) { return tlsConfig(f) }); err != nil {
			return nil, "", err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, "", err
	}
	if config != nil {
		return tls.NewListener(l, config), "https://" + l.Addr().String(), nil
	}
	if addr, ok := l.Addr().(*net.TCPAddr); !f.plain && (!ok || !addr.IP.IsLoopback()) {
		l.Close()
		return nil, "", usagef("%s is not a loopback address: give --tls-cert and --tls-key, or --plain-http if something in front speaks TLS", f.listen)
	}
	return l, "http://" + l.Addr().String(), nil
}

func tlsConfig(f serveFlags) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fileError(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if f.clientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fileError(err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, usagef("%s has no certificate in it", f.clientCA)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	if f.basic != "" {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

// readUsers reads a file of lines USER:PASSWORD.
func readUsers(name string) (map[string]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fileError(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, usagef("%s has mode %04o, so others may read the passwords; make it 0600", name, mode)
	}
	users := map[string]string{}
	var data bytes.Buffer
	if _, err := data.ReadFrom(file); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(&data)
	for n := 1; lines.Scan(); n++ {
		user, password, ok := strings.Cut(strings.TrimRight(lines.Text(), "\r"), ":")
		switch {
		case lines.Text() == "":
		case !ok || user == "" || password == "":
			return nil, usagef("%s:%d: a line is USER:PASSWORD", name, n)
		case users[user] != "":
			return nil, usagef("%s:%d: user %q is there twice", name, n, user)
		default:
			users[user] = password
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, &usageError{errors.New(name + " has no users in it")}
	}
	return users, nil
}
