package services

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPath(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			t.Setenv(CacheEnv, cache)
			if got, err := Path(name); got != "" || !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "make services") {
				t.Fatalf("before the build: %q, %v", got, err)
			}
			s, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Dir(s.Target) != cache {
				t.Errorf("target %s is not in %s", s.Target, cache)
			}
			if err := os.Mkdir(s.Target, 0o755); err != nil {
				t.Fatal(err)
			}
			got, err := Path(name)
			if err != nil || !strings.HasPrefix(got, s.Target+string(filepath.Separator)) {
				t.Errorf("after the build: %q, %v; want a file in %s", got, err, s.Target)
			}
		})
	}
}

func TestDefaultCache(t *testing.T) {
	t.Setenv(CacheEnv, "")
	t.Setenv("HOME", filepath.FromSlash("/home/u"))
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("LocalAppData", filepath.FromSlash("/home/u"))
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Find("minio")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := filepath.Dir(s.Target), filepath.Join(base, "statelatch", "services"); got != want {
		t.Errorf("default cache is %s, want %s", got, want)
	}
}

func TestFindRefuses(t *testing.T) {
	if _, err := Path("minioo"); err == nil || errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "minio, ") {
		t.Errorf("unknown name: %v; want the known ones", err)
	}
	t.Chdir(t.TempDir())
	if _, err := Path("minio"); err == nil || errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "checkout") {
		t.Errorf("outside the checkout: %v", err)
	}
}

// Every folder that pins something is in the list, and the other way round.
func TestFolders(t *testing.T) {
	var folders []string
	for _, pattern := range []string{"*/go.mod", "*/package.json"} {
		pins, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pins {
			folders = append(folders, filepath.Dir(p))
		}
	}
	slices.Sort(folders)
	if diff := cmp.Diff(slices.Sorted(slices.Values(Names())), folders); diff != "" {
		t.Error(diff)
	}
}

// What npm pins must not say where from: that is for whoever installs.
func TestLockFilesNameNoHost(t *testing.T) {
	for _, name := range Names() {
		if s, err := Find(name); err != nil || !s.NPM {
			continue
		}
		data, err := os.ReadFile(filepath.Join(name, "package-lock.json"))
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`"resolved":.*`).Find(data); m != nil {
			t.Errorf("%s: %s", name, m)
		}
		if !strings.Contains(string(data), `"integrity": "sha512-`) {
			t.Errorf("%s pins no digests", name)
		}
	}
}

func TestKey(t *testing.T) {
	goPins := map[string]string{"go.mod": "module x\n", "go.sum": "y\n", "main.go": "package main\n"}
	npmPins := map[string]string{"package.json": "{}", "package-lock.json": "{}"}
	tests := []struct {
		name    string
		npm     bool
		pins    map[string]string
		file    string
		changes bool
	}{
		{"go.mod", false, goPins, "go.mod", true},
		{"go.sum", false, goPins, "go.sum", true},
		{"own code", false, goPins, "main.go", true},
		{"new code", false, goPins, "more.go", true},
		{"a note", false, goPins, "NOTES", false},
		{"package.json", true, npmPins, "package.json", true},
		{"package-lock.json", true, npmPins, "package-lock.json", true},
		{"settings of npm", true, npmPins, ".npmrc", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Service{Name: "x", Source: t.TempDir(), NPM: tt.npm}
			for file, text := range tt.pins {
				write(t, s.Source, file, text)
			}
			before := mustKey(t, s)
			if again := mustKey(t, s); again != before {
				t.Fatalf("%s, then %s", before, again)
			}
			write(t, s.Source, tt.file, tt.pins[tt.file]+" ")
			if changed := mustKey(t, s) != before; changed != tt.changes {
				t.Errorf("key changed: %v, want %v", changed, tt.changes)
			}
		})
	}
}

// Bytes that move from one pin to the next make another key.
func TestKeySeparatesFiles(t *testing.T) {
	var keys [2]string
	for i, sum := range []string{"", "b"} {
		s := Service{Name: "x", Source: t.TempDir()}
		write(t, s.Source, "go.mod", strings.TrimSuffix("ab", sum))
		write(t, s.Source, "go.sum", sum)
		keys[i] = mustKey(t, s)
	}
	if keys[0] == keys[1] {
		t.Errorf("both %s", keys[0])
	}
}

func TestKeyNeedsThePins(t *testing.T) {
	for _, npm := range []bool{false, true} {
		_, err := key(Service{Name: "x", Source: t.TempDir(), NPM: npm})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("npm %v: %v", npm, err)
		}
	}
}

func mustKey(t *testing.T, s Service) string {
	t.Helper()
	k, err := key(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
