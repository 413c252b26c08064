// Package services finds the real servers and command lines that the tests run
// against. Each folder below pins one of them, as a nested module or an npm lock
// file, so that none of their dependencies reaches a user of this module.
//
// A command of its own, ./internal/services/build ("make services"), builds them
// into a folder outside the checkout. This package runs nothing.
package services

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// CacheEnv names the environment variable for the folder to build into. Without
// it, that is statelatch/services in [os.UserCacheDir].
const CacheEnv = "STATELATCH_SERVICES"

// ErrNotBuilt: the version that the checkout pins has not been built here.
var ErrNotBuilt = errors.New("not built; run: make services")

// A Service is one server or command line.
type Service struct {
	Name    string
	Source  string // folder in the checkout that pins it
	Target  string // folder that holds what was built from these very pins, or does not exist
	Program string // file in Target to start
	NPM     bool   // comes from npm, not from Go modules
}

// all services, the quickest to build first. Those from npm name their script.
var all = []struct{ name, script string }{
	{"dynalite", "dynalite"},
	{"s3rver", "s3rver"},
	{"minidyn", ""},
	{"azurite", "azurite-blob"},
	{"gcsemulator", ""},
	{"fakegcs", ""},
	{"versitygw", ""},
	{"minio", ""},
	{"consul", ""},
	{"tofu", ""},
}

// Names returns the name of every service, the quickest to build first.
func Names() []string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.name
	}
	return names
}

// Path returns the program of the service called name, to be started as it is;
// one from npm needs node on PATH. The error matches [ErrNotBuilt] if all it
// takes is to build it.
func Path(name string) (string, error) {
	s, err := Find(name)
	if err != nil {
		return "", err
	}
	if !s.Built() {
		return "", fmt.Errorf("service %s is %w", name, ErrNotBuilt)
	}
	return s.Program, nil
}

// Find returns the service called name, built or not. The current folder must be
// in the checkout, as that of a test is.
func Find(name string) (Service, error) {
	i := slices.Index(Names(), name)
	if i < 0 {
		return Service{}, fmt.Errorf("no service is called %q; there are: %s", name, strings.Join(Names(), ", "))
	}
	source, err := sourceFolder(name)
	if err != nil {
		return Service{}, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return Service{}, err
	}
	return locate(source, cache, all[i].script)
}

// Built reports whether Target is there. It is there whole, or not at all.
func (s Service) Built() bool {
	_, err := os.Stat(s.Target)
	return err == nil
}

// locate returns the service that the folder source pins.
func locate(source, cache, script string) (Service, error) {
	s := Service{Name: filepath.Base(source), Source: source, NPM: script != ""}
	k, err := key(s)
	if err != nil {
		return Service{}, err
	}
	s.Target = filepath.Join(cache, s.Name+"-"+k)
	program, suffix := s.Name, ".exe"
	if s.NPM {
		program, suffix = filepath.Join("node_modules", ".bin", script), ".cmd"
	}
	if runtime.GOOS == "windows" {
		program += suffix
	}
	s.Program = filepath.Join(s.Target, program)
	return s, nil
}

// recipe is part of every key: raise it when the build command changes what it
// makes of the same pins.
const recipe = 1

// key hashes what decides the outcome of a build: the pins, the machine and,
// except for npm, the version of Go.
func key(s Service) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, recipe, runtime.GOOS, runtime.GOARCH)
	pins := []string{"package.json", "package-lock.json"}
	if !s.NPM {
		fmt.Fprintln(h, runtime.Version())
		pins = []string{"go.mod", "go.sum"}
	}
	sources, err := filepath.Glob(filepath.Join(s.Source, "*.go")) // sorted
	if err != nil {
		return "", err
	}
	for _, path := range sources {
		pins = append(pins, filepath.Base(path))
	}
	for _, name := range pins {
		data, err := os.ReadFile(filepath.Join(s.Source, name))
		if err != nil {
			return "", fmt.Errorf("what pins service %s: %w", s.Name, err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(data), data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// sourceFolder looks for the folder of a service from the current one upwards.
func sourceFolder(name string) (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; {
		source := filepath.Join(dir, "internal", "services", name)
		if _, err := os.Stat(source); err == nil {
			return source, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder from %s upwards has internal/services/%s; run this in the checkout", start, name)
		}
		dir = parent
	}
}

func cacheFolder() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder to build services into: %w; or set %s to one", err, CacheEnv)
	}
	return filepath.Join(dir, "statelatch", "services"), nil
}
