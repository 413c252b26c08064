package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/internal/services"
)

const hello = "package main\n\nfunc main() { println(\"hello\") }\n"

// module returns a service from Go whose whole code is main.
func module(t *testing.T, main string) services.Service {
	t.Helper()
	s := service(t, map[string]string{
		"go.mod":  "module example.com/hello\n\ngo 1.26.0\n\ntool example.com/hello\n",
		"main.go": main,
	})
	s.Program = filepath.Join(s.Target, "hello")
	return s
}

func service(t *testing.T, files map[string]string) services.Service {
	t.Helper()
	source := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return services.Service{Name: "hello", Source: source, Target: filepath.Join(t.TempDir(), "cache", "hello-key")}
}

func TestBuildOnce(t *testing.T) {
	// None of these may reach the build.
	t.Setenv("GOFLAGS", "-mod=vendor")
	t.Setenv("GOWORK", "/nowhere/go.work")
	s := module(t, hello)
	var out strings.Builder
	if err := build(t.Context(), &out, s); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "hello: building\nhello: built in ") || !strings.Contains(out.String(), s.Program) {
		t.Errorf("printed %q", out.String())
	}
	if got, err := exec.Command(s.Program).CombinedOutput(); err != nil || string(got) != "hello\n" {
		t.Errorf("program: %q, %v", got, err)
	}

	before := contents(t, s)
	out.Reset()
	if err := build(t.Context(), &out, s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, contents(t, s)); diff != "" || out.Len() > 0 {
		t.Errorf("the second build did something: %q\n%s", out.String(), diff)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	s := module(t, "package main\n\nfunc main() { nonsense }\n")
	err := build(t.Context(), io.Discard, s)
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("error %v; want that of the compiler", err)
	}
	if diff := cmp.Diff([]string{"hello.lock"}, names(contents(t, s))); diff != "" {
		t.Error(diff)
	}
}

func TestInterruptionLeavesNothing(t *testing.T) {
	s := module(t, hello)
	ctx, cancel := context.WithCancel(t.Context())
	// The build is interrupted as soon as it says that it has begun.
	err := build(ctx, writer(func(p []byte) { cancel() }), s)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"hello.lock"}, names(contents(t, s))); diff != "" {
		t.Error(diff)
	}
}

// What a run that was killed has left is not taken for a build, and goes.
func TestLeftovers(t *testing.T) {
	s := module(t, hello)
	left := filepath.Join(filepath.Dir(s.Target), "hello-123.partial")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := build(t.Context(), io.Discard, s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"hello-key", "hello-key/hello", "hello.lock"}, names(contents(t, s))); diff != "" {
		t.Error(diff)
	}
}

// Two runs at once: one builds, the other waits and finds it done.
func TestParallelRuns(t *testing.T) {
	s := module(t, hello)
	var mu sync.Mutex
	built := 0
	count := writer(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		built += strings.Count(string(p), "hello: building")
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := build(t.Context(), count, s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if built != 1 {
		t.Errorf("%d builds, want 1", built)
	}
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	unlock, err := lock(t.Context(), io.Discard, path)
	if err != nil {
		t.Fatal(err)
	}
	// Once the second has said that it waits, it is made to give up.
	ctx, cancel := context.WithCancel(t.Context())
	var told strings.Builder
	_, err = lock(ctx, writer(func(p []byte) { told.Write(p); cancel() }), path)
	if !errors.Is(err, context.Canceled) || !strings.Contains(told.String(), path) {
		t.Errorf("error %v, printed %q", err, told.String())
	}
	unlock()
	again, err := lock(t.Context(), io.Discard, path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestNPM(t *testing.T) {
	fakeNPM(t, `pwd >cwd; echo "$@" >args; mkdir -p node_modules/.bin; echo ok >node_modules/.bin/hello`)
	s := service(t, map[string]string{"package.json": "{}", "package-lock.json": "{ }", ".npmrc": ""})
	s.NPM = true
	s.Program = filepath.Join(s.Target, "node_modules", ".bin", "hello")
	if err := build(t.Context(), io.Discard, s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Program); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"args": "ci --ignore-scripts ", "cwd": ".partial", "package-lock.json": "{ }"} {
		if got, err := os.ReadFile(filepath.Join(s.Target, name)); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := filepath.Glob(filepath.Join(s.Source, "node_modules")); err != nil || len(got) > 0 {
		t.Errorf("in the checkout: %v, %v", got, err)
	}
}

// A package without the script that the list names is not taken for built.
func TestNoProgram(t *testing.T) {
	fakeNPM(t, "true")
	s := service(t, map[string]string{"package.json": "{}", "package-lock.json": "{}"})
	s.NPM = true
	s.Program = filepath.Join(s.Target, "node_modules", ".bin", "hello")
	if err := build(t.Context(), io.Discard, s); err == nil || s.Built() {
		t.Errorf("error %v, built %v", err, s.Built())
	}
}

func TestPrerequisites(t *testing.T) {
	goService, npmService := services.Service{Name: "minio"}, services.Service{Name: "azurite", NPM: true}
	tests := []struct {
		name    string
		missing []services.Service
		want    []string // in the error; none = no error
	}{
		{"nothing to build", nil, nil},
		{"from Go", []services.Service{goService}, []string{"go is not on PATH, and minio cannot", getGo}},
		{"from npm", []services.Service{npmService}, []string{"node is not", "npm is not on PATH, and azurite cannot", getNode}},
		{"both", []services.Service{goService, npmService}, []string{"go is not", "npm is not"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			err := prerequisites(tt.missing)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("error %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v; want %q", err, want)
				}
			}
		})
	}
}

// The command, over the real list, with a cache that holds all of it.
func TestRunWithNothingToDo(t *testing.T) {
	t.Setenv(services.CacheEnv, t.TempDir())
	for _, name := range services.Names() {
		s, err := services.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(s.Target, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", t.TempDir()) // nothing can be run
	var out strings.Builder
	if err := run(t.Context(), &out, nil); err != nil || out.Len() > 0 {
		t.Errorf("error %v, printed %q", err, out.String())
	}
	if err := run(t.Context(), &out, []string{"nope"}); err == nil {
		t.Error("built a service that is not in the list")
	}
}

// fakeNPM puts node and an npm that runs script first on PATH.
func fakeNPM(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a POSIX shell")
	}
	dir := t.TempDir()
	for _, name := range []string{"npm", "node"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// contents returns when each file and folder in the cache of s was changed.
func contents(t *testing.T, s services.Service) map[string]time.Time {
	t.Helper()
	cache := filepath.Dir(s.Target)
	found := map[string]time.Time{}
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == cache {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(cache, path)
		found[filepath.ToSlash(name)] = info.ModTime()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func names(found map[string]time.Time) []string { return slices.Sorted(maps.Keys(found)) }
