// Command vulncheck runs govulncheck on a module, with the vulnerability database
// that the module golang.org/x/vulndb carries: so the check needs the Go module
// proxy and nothing else, and says the same thing tomorrow.
//
// A vulnerability that the module's code can reach fails the check, unless it is
// one of the standard library. That is printed only: whoever builds a program
// chooses its Go release, a library cannot.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/vuln/scan"
)

// database is the module version whose data is used unless a flag says otherwise.
const database = "golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018"

func main() {
	dir := flag.String("C", ".", "check the module in this `directory`")
	db := flag.String("db", database, "take the data of this `module@version`")
	flag.Parse()
	if err := run(context.Background(), *dir, *db); err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, db string) error {
	data, err := download(ctx, db)
	if err != nil {
		return err
	}
	findings, err := govulncheck(ctx, dir, data)
	if err != nil {
		return err
	}
	if err := report(findings); err != nil {
		return err
	}
	fmt.Printf("no vulnerability of a dependency can be reached, by %s\n", db)
	return nil
}

// report prints what was found. It fails if there is more than what a newer Go mends.
func report(findings []finding) error {
	var err error
	var std []string
	for _, f := range findings {
		if f.Trace[0].Module == "stdlib" {
			std = append(std, fmt.Sprintf("%s (until %s)", f.OSV, f.fixed()))
			continue
		}
		fmt.Println(f)
		err = errors.New("the code reaches a vulnerability of a dependency: raise the dependency, or do without it")
	}
	if std != nil {
		fmt.Printf("%s has vulnerabilities that newer releases mend: %s\n", runtime.Version(), strings.Join(std, ", "))
	}
	return err
}

// download returns the folder with the database's entries.
func download(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = os.TempDir() // outside of any module, whose go.sum it would extend
	out, err := cmd.Output()
	var got struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil || got.Dir == "" {
		return "", fmt.Errorf("downloading %s: %s", module, cmp.Or(got.Error, fmt.Sprint(err)))
	}
	return filepath.Join(got.Dir, "data", "osv"), nil
}

// A finding is what govulncheck reports of one vulnerability, as far as it is used here.
type finding struct {
	OSV   string
	Fixed string  `json:"fixed_version"`
	Trace []frame // from the vulnerable function up to ours
}

type frame struct{ Module, Version, Package, Receiver, Function string }

func (f frame) String() string {
	return f.Package + "." + strings.TrimPrefix(f.Receiver+".", ".") + f.Function
}

func (f finding) fixed() string { return cmp.Or(f.Fixed, "a version to come") }

// reachable reports whether the trace goes from our code to the vulnerable function.
// Findings without one say only that a package or a module is there.
func (f finding) reachable() bool { return len(f.Trace) > 0 && f.Trace[0].Function != "" }

func (f finding) String() string {
	at, from := f.Trace[0], f.Trace[len(f.Trace)-1]
	return fmt.Sprintf("https://pkg.go.dev/vuln/%s: %s %s (fixed in %s): %s reaches %s",
		f.OSV, at.Module, at.Version, f.fixed(), from, at)
}

// govulncheck returns the reachable vulnerabilities of the module in dir, one finding
// for each vulnerability and module that has it.
func govulncheck(ctx context.Context, dir, data string) ([]finding, error) {
	var out bytes.Buffer
	cmd := scan.Command(ctx, "-C", dir, "-db", "file://"+filepath.ToSlash(data), "-format", "json", "./...")
	cmd.Stdout = &out
	if err := errors.Join(cmd.Start(), cmd.Wait()); err != nil {
		return nil, fmt.Errorf("govulncheck: %w", err)
	}
	found := map[string]finding{}
	for dec := json.NewDecoder(&out); ; {
		var message struct{ Finding *finding }
		switch err := dec.Decode(&message); {
		case errors.Is(err, io.EOF):
			return slices.SortedFunc(maps.Values(found), func(a, b finding) int { return cmp.Compare(a.String(), b.String()) }), nil
		case err != nil:
			return nil, fmt.Errorf("govulncheck's output: %w", err)
		case message.Finding != nil && message.Finding.reachable():
			f := *message.Finding
			found[f.OSV+" "+f.Trace[0].Module] = f
		}
	}
}
