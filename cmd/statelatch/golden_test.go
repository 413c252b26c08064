//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// TestCommands runs the commands of testdata/*.txt, and compares what they print with
// what is written there below each:
//
//	$ statelatch ARGUMENT...  [< FILE]    (quotes as in a shell; run in this process)
//	what it prints to standard output
//	! what it prints to standard error
//	[exit 3]                              (if it is not 0)
//	% act ARGUMENT...                     (something that happens beside; see acts)
//	# comment
//
// With -update it writes the files.
func TestCommands(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || files == nil {
		t.Fatal("no sessions", err)
	}
	for _, name := range files {
		name, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			golden(t, name, newWorld(t).script)
		})
	}
}

// golden compares a file with what becomes of it when it is made again.
func golden(t *testing.T, name string, remake func(string) string) {
	t.Helper()
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got := remake(string(want))
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), got); diff != "" && !*update {
		t.Errorf("%s (-want +got):\n%s", filepath.Base(name), diff)
	}
}

// script runs the commands of a text, and returns it with what they print now.
func (w *world) script(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" && !strings.HasSuffix(out.String(), "\n\n") || strings.HasPrefix(line, "#") {
			fmt.Fprintln(&out, line)
		}
		if act, ok := strings.CutPrefix(line, "% "); ok {
			fmt.Fprintln(&out, line)
			w.act(words(act))
		}
		if command, ok := strings.CutPrefix(line, "$ statelatch"); ok {
			fmt.Fprintln(&out, line)
			out.WriteString(w.normal(w.command(command)))
		}
	}
	return out.String()
}

func (w *world) command(line string) string {
	line, file, _ := strings.Cut(line, " < ")
	stdin := []byte{}
	if file != "" {
		stdin, _ = os.ReadFile(file)
	}
	code, stdout, stderr := w.statelatch(string(stdin), words(line)...)
	var out strings.Builder
	out.WriteString(stdout)
	if stdout != "" && !strings.HasSuffix(stdout, "\n") {
		out.WriteString("\n[no newline]\n")
	}
	for line := range strings.Lines(stderr) {
		out.WriteString("! " + line)
	}
	if code != 0 {
		fmt.Fprintf(&out, "[exit %d]\n", code)
	}
	return out.String()
}

var word = regexp.MustCompile(`'[^']*'|\S+`)

func words(line string) []string {
	found := word.FindAllString(line, -1)
	for i, w := range found {
		found[i] = strings.Trim(w, "'")
	}
	return found
}

// kinds are the errors that an act can ask for by name.
var kinds = map[string]error{
	"permission": backend.ErrPermission, "conflict": backend.ErrConflict, "unknown": backend.ErrUnknown,
	"transient": backend.ErrTransient, "no-store": backend.ErrNoStore, "not-held": lock.ErrNotHeld,
	"corrupt": backend.ErrCorrupt, "canceled": context.Canceled,
}

// act does what happens beside the commands.
func (w *world) act(args []string) {
	w.t.Helper()
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	serial := func(i int) int { n, _ := strconv.Atoi(arg(i)); return n }
	var err error
	switch args[0] {
	case "state": // FILE SERIAL [LINEAGE]: one with contents
		err = os.WriteFile(arg(1), []byte(state(serial(2), or(arg(3), lineage), true)), 0o600)
	case "empty": // FILE SERIAL [LINEAGE]: one without
		err = os.WriteFile(arg(1), []byte(state(serial(2), or(arg(3), lineage), false)), 0o600)
	case "write": // FILE TEXT
		err = os.WriteFile(arg(1), []byte(strings.ReplaceAll(strings.Join(args[2:], " "), `\n`, "\n")+"\n"), 0o600)
	case "huge": // FILE: of a byte more than a state may have, none of which takes room
		if err = os.WriteFile(arg(1), nil, 0o600); err == nil {
			err = os.Truncate(arg(1), maxState+1)
		}
	case "mkdir":
		err = os.Mkdir(arg(1), 0o700)
	case "chmod": // FILE MODE
		var mode uint64
		if mode, err = strconv.ParseUint(arg(2), 8, 32); err == nil {
			err = os.Chmod(arg(1), os.FileMode(mode))
		}
	case "env": // NAME [VALUE]
		w.t.Setenv(arg(1), arg(2))
	case "hold": // URL WORKSPACE
		w.hold(arg(1), arg(2))
	case "fail": // STORE CALL KIND: the next call of that name fails
		w.stores.get(arg(1)).faulty.Fail(faulty.Op(strings.ReplaceAll(arg(2), "-", " ")), 1, kinds[arg(3)])
	case "always": // STORE CALL KIND: all calls of that name fail
		w.stores.get(arg(1)).faulty.Fail(faulty.Op(arg(2)), faulty.Every, kinds[arg(3)])
	case "lose": // STORE CALL: the next reply is lost
		w.stores.get(arg(1)).faulty.LoseReply(faulty.Op(arg(2)), 1)
	case "steal": // STORE CALL: before the next call, somebody breaks the lock
		w.steal(arg(1), faulty.Op(arg(2)))
	case "heal":
		w.stores.get(arg(1)).faulty.Heal()
	case "record": // STORE WORKSPACE TEXT: what is stored as its lock
		w.stores.get(arg(1)).memory.SetLockRecord(arg(2), []byte(strings.Join(args[3:], " ")))
	default:
		err = errors.New("no such act")
	}
	if err != nil {
		w.t.Fatalf("%q: %v", args, err)
	}
}

// steal breaks the lock of the default workspace before the next call of a kind.
func (w *world) steal(name string, op faulty.Op) {
	s := w.stores.get(name)
	s.faulty.Before(op, 1, func(ctx context.Context) error {
		holder, err := s.memory.Holder(ctx, "default")
		if err == nil {
			err = s.memory.Unlock(ctx, "default", holder.ID)
		}
		return err
	})
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// unsteady is what differs from run to run, and what stands for it.
var unsteady = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "a-random-id"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "2026-01-02T03:09:05Z"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC \((just now|\d+ \w+ ago)\)`), "2026-01-02 03:09:05 UTC (just now)"},
	{regexp.MustCompile(`"age_seconds": ?\d+`), `"age_seconds": 0`},
	{regexp.MustCompile(`"milliseconds": \d+`), `"milliseconds": 0`},
	{regexp.MustCompile(`"revision": "[0-9a-zA-Z-]+"`), `"revision": "a-revision"`},
	{regexp.MustCompile(`\(process \d+\)`), "(process 4711)"},
	{regexp.MustCompile(`run [A-Z2-7]{26}`), `run A-RUN`},
	{regexp.MustCompile(`statelatch-probe-[a-z2-7]{10}`), `statelatch-probe-random`},
	{regexp.MustCompile(`\bgo1\.[0-9.]+`), "go1.X"},
	{regexp.MustCompile(`(linux|darwin|freebsd|windows)/\w+`), "linux/amd64"},
}

// steady are those matches of unsteady that are the same in all runs, since the tests
// themselves have chosen them.
var steady = []string{
	foreignID, lineage, "2026-01-02 03:04:05 UTC (5 minutes ago)", "2026-01-02T03:04:05Z",
	`"age_seconds": 300`, `"age_seconds":300`,
}

func (w *world) normal(text string) string {
	text = strings.ReplaceAll(text, w.dir, "$DIR")
	text = strings.ReplaceAll(text, lock.NewInfo("").Who, "user@host")
	mark := func(i int) string { return fmt.Sprintf("\x00%c\x00", 'A'+i) }
	for i, value := range steady {
		text = strings.ReplaceAll(text, value, mark(i))
	}
	for _, u := range unsteady {
		text = u.re.ReplaceAllString(text, u.with)
	}
	for i, value := range steady {
		text = strings.ReplaceAll(text, mark(i), value)
	}
	return text
}

// help is the help of every command.
func (w *world) help() string {
	w.t.Helper()
	var pages strings.Builder
	visit := func(path ...string) {
		fmt.Fprintf(&pages, "$ statelatch help %s\n", strings.Join(path, " "))
		pages.WriteString(w.ok(append([]string{"help"}, path...)...) + "\n")
	}
	visit()
	c := &cli{program: w.program}
	for _, cmd := range c.rootCommand().Commands() {
		visit(cmd.Name())
	}
	return pages.String()
}

// TestHelp compares the help of every command with testdata/help.golden, and sees that it
// fits a terminal.
func TestHelp(t *testing.T) {
	pages := newWorld(t).help()
	for n, line := range strings.Split(pages, "\n") {
		if len([]rune(line)) > width {
			t.Errorf("line %d of the help has %d columns: %s", n+1, len([]rune(line)), line)
		}
	}
	golden(t, filepath.Join(packageDir, "testdata", "help.golden"), func(string) string { return pages })
}

// TestHelpURLs opens every URL of the help, with something in place of its capitals.
func TestHelpURLs(t *testing.T) {
	w := newWorld(t)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true",
		"GOOGLE_OAUTH_ACCESS_TOKEN": "x", "ARM_ACCESS_KEY": "eA==",
	} {
		t.Setenv(name, value)
	}
	mux := all.Mux()
	found := regexp.MustCompile(`\b(`+strings.Join(mux.Types(), "|")+`):[^\s'"]*`).FindAllString(w.help(), -1)
	for _, url := range found {
		url = strings.ToLower(strings.NewReplacer("PORT", "1", "REGION", "eu-central-1").Replace(url))
		b, err := mux.OpenURL(t.Context(), url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		b.Close()
	}
	if len(found) < 10 {
		t.Errorf("only %q", found)
	}
}

// TestSession runs the commands of the documents with a real shell and the real
// program, and compares what they print.
func TestSession(t *testing.T) {
	for _, name := range []string{"docs/session.md", "docs/command.md", "README.md"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			bin := filepath.Join(t.TempDir(), "bin")
			exe, err := os.Executable()
			if err == nil {
				err = os.Mkdir(bin, 0o700)
			}
			if err == nil {
				err = os.Symlink(exe, filepath.Join(bin, "statelatch"))
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			t.Setenv(asProgram, "1")
			put(t, "main.tf", "terraform {\n  backend \"local\" {}\n}\n")
			put(t, "network.tfstate", strings.ReplaceAll(state(4, lineage, true), `    "escape": {"value": "a\u001b[31m\u009b0mb", "type": "string"},`+"\n", ""))
			golden(t, filepath.Join(packageDir, "..", "..", name), w.markdown)
		})
	}
}

// markdown runs the lines that begin with $ in the console blocks of a document.
func (w *world) markdown(text string) string {
	var out strings.Builder
	console := false
	for line := range strings.Lines(text) {
		fence := strings.HasPrefix(line, "```")
		if fence || !console || strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ") {
			out.WriteString(line)
		}
		switch command, ok := strings.CutPrefix(line, "$ "); {
		case fence:
			console = line == "```console\n"
		case console && ok:
			cmd := exec.CommandContext(w.t.Context(), "sh", "-c", command)
			cmd.Env = append(os.Environ(), respawn.Quick)
			output, _ := cmd.CombinedOutput() // what fails, says so
			out.WriteString(w.normal(string(output)))
		}
	}
	return out.String()
}
