package deptest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each row closes a package, and what is below it unless it has a row of its own
// here: beside the standard library and itself it links nothing but what the row names.
var closed = []struct {
	pkg string
	may []string
	why string
}{
	{"lock", nil, "a program that only locks pays for nothing else"},
	{"lock/locktest", []string{"lock", "internal/clause", "go.uber.org/goleak", "github.com/anishathalye/porcupine", "github.com/google/go-cmp"}, "the suite is imported by tests of other projects: small, and no service with it"},
	{"backend", []string{"lock"}, "an interface that drags a dependency along hands it to every implementer"},
	{"backend/backendtest", []string{"backend", "lock", "internal/clause", "go.uber.org/goleak", "github.com/anishathalye/porcupine", "github.com/google/go-cmp"}, "as lock/locktest"},
	{"memory", []string{"backend", "lock", "internal"}, "it is read as the specification and used as a fake: nothing but the contract"},
	{"local", []string{"backend", "lock", "internal", "golang.org/x/sys"}, "files need the operating system only"},
	{"httpbackend", []string{"backend", "lock", "internal"}, "HTTP is in the standard library"},
	{"httpbackend/server", []string{"backend", "lock", "statefile", "httpbackend/internal", "internal"}, "a server over any Backend knows none, and needs no client of its own protocol"},
	{"tfconfig", []string{"backend", "lock", "internal", "github.com/hashicorp/hcl", "github.com/zclconf/go-cty", "github.com/agext/levenshtein", "github.com/apparentlymart/go-textseg", "github.com/mitchellh/go-wordwrap", "golang.org/x/text"}, "it opens what the program's own drivers can: HCL, what HCL needs, and no service"},
	{"statefile", []string{"backend", "lock", "internal"}, "it is used by programs that bring their own storage"},
	{"middleware", []string{"backend", "lock", "internal"}, "a wrapper works over any Backend, so it knows none"},
}

// Each row fences something in: of this module's packages only those named, and
// those below them, may link it. The composers may link everything.
var fenced = []struct {
	what string
	by   []string
	why  string
}{
	{"memory", []string{"memory"}, "importing one service never links another"},
	{"local", []string{"local"}, "importing one service never links another"},
	{"s3", []string{"s3"}, "importing one service never links another"},
	{"gcs", []string{"gcs"}, "importing one service never links another"},
	{"azblob", []string{"azblob"}, "importing one service never links another"},
	{"consul", []string{"consul"}, "importing one service never links another"},
	{"httpbackend", []string{"httpbackend"}, "importing one service never links another"},
	{"github.com/aws", []string{"s3"}, "Amazon's client is large; only its service needs it"},
	{"cloud.google.com/go", []string{"gcs"}, "Google's client is large; only its service needs it"},
	{"google.golang.org/api", []string{"gcs"}, "as cloud.google.com/go"},
	{"github.com/Azure", []string{"azblob"}, "Azure's client is large; only its service needs it"},
	{"github.com/AzureAD", []string{"azblob"}, "as github.com/Azure"},
	{"github.com/hashicorp/consul", []string{"consul"}, "Consul's client is large; only its service needs it"},
	{"github.com/hashicorp/hcl", []string{"tfconfig"}, "a program that builds its configuration in Go needs no parser"},
	{"github.com/zclconf/go-cty", []string{"tfconfig"}, "as github.com/hashicorp/hcl"},
	{"tfconfig", []string{"tfconfig"}, "a service is opened by its settings, wherever they come from"},
	{"github.com/spf13", []string{"cmd"}, "flags belong to the command line"},
	{"github.com/schollz/progressbar", []string{"cmd"}, "a library draws on nobody's terminal"},
	{"golang.org/x/term", []string{"cmd"}, "as github.com/schollz/progressbar"},
}

// composers put services together; they are leaves that nobody else links.
var composers = []string{"all", "cmd", "examples"}

// suites are imported by tests alone, so they and what is internal may import testing.
var suites = []string{"backend/backendtest", "lock/locktest", "internal"}

// violations returns one line for each rule that g breaks.
func violations(g graph) []string {
	var broken []string
	for _, name := range g.ours() {
		broken = slices.Concat(broken, beyondClosed(g, name), overFence(g, name), testMachinery(g, name))
	}
	return broken
}

func violation(name, what, why string) string { return fmt.Sprintf("%s links %s: %s", name, what, why) }

func beyondClosed(g graph, name string) (broken []string) {
	i := closedBy(name)
	if i < 0 {
		return nil
	}
	for _, path := range g.links(name) {
		if !within(path, closed[i].pkg) && !withinAny(path, closed[i].may) {
			broken = append(broken, violation(name, path, closed[i].why))
		}
	}
	return broken
}

func overFence(g graph, name string) (broken []string) {
	if withinAny(name, composers) {
		return nil
	}
	for _, path := range g.links(name) {
		if withinAny(path, composers) {
			broken = append(broken, violation(name, path, "what links every service is a leaf"))
		}
		for _, row := range fenced {
			if within(path, row.what) && !withinAny(name, row.by) {
				broken = append(broken, violation(name, path, row.why))
			}
		}
	}
	return broken
}

func testMachinery(g graph, name string) (broken []string) {
	if withinAny(name, suites) {
		return nil
	}
	for _, path := range append(g.links(name), name) {
		if slices.Contains(g[module+"/"+path].Imports, "testing") {
			broken = append(broken, violation(name, "testing by "+path, "test machinery and its flags do not belong into a program"))
		}
	}
	return broken
}

// closedBy returns the index of the row of closed for the package of this name, the
// most exact one, or -1.
func closedBy(name string) int {
	best := -1
	for i, row := range closed {
		if within(name, row.pkg) && (best < 0 || len(row.pkg) > len(closed[best].pkg)) {
			best = i
		}
	}
	return best
}

func TestFloors(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows", "freebsd"} {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			g := load(t, goos)
			for _, name := range []string{"lock", "backend"} {
				if _, ok := g[module+"/"+name]; !ok {
					t.Errorf("go list does not name %s", name)
				}
			}
			for _, line := range violations(g) {
				t.Error(line)
			}
		})
	}
}

// TestFloorsNotice shows that the rules can fail: each package of this made-up
// graph breaks those that the line says.
func TestFloorsNotice(t *testing.T) {
	g := graph{}
	add := func(name string, deps ...string) {
		for i, dep := range deps {
			if _, ok := g[module+"/"+dep]; ok {
				deps[i] = module + "/" + dep
			}
		}
		g[module+"/"+name] = pkg{ImportPath: module + "/" + name, Imports: deps, Deps: deps}
	}
	for _, std := range []string{"io", "testing"} {
		g[std] = pkg{ImportPath: std, Standard: true}
	}
	add("lock", "io", "golang.org/x/sys/unix")
	add("backend", "lock", "io")
	add("backend/backendtest", "backend", "lock", "testing", "github.com/stretchr/testify/assert")
	add("internal/fake", "testing")
	add("s3", "backend", "github.com/aws/aws-sdk-go-v2/aws", "internal/fake")
	add("gcs", "s3", "cloud.google.com/go/storage")
	add("azblob", "cloud.google.com/go/storage")
	add("consul", "testing", "github.com/hashicorp/consul/api", "github.com/hashicorp/hcl/v2")
	add("httpbackend", "backend", "github.com/spf13/pflag")
	add("httpbackend/server", "backend", "httpbackend")
	add("all", "s3", "gcs", "azblob", "consul")
	add("tfconfig", "all", "github.com/hashicorp/hcl/v2")
	add("cmd/statelatch", "all", "tfconfig", "github.com/spf13/cobra")
	add("memory", "backend", "tfconfig")

	got := violations(g)
	for i, line := range got {
		got[i], _, _ = strings.Cut(line, ": ")
	}
	want := []string{
		"all links testing by consul",
		"azblob links cloud.google.com/go/storage",
		"backend/backendtest links github.com/stretchr/testify/assert",
		"consul links github.com/hashicorp/hcl/v2",
		"consul links testing by consul",
		"gcs links s3",
		"httpbackend links github.com/spf13/pflag",
		"httpbackend links github.com/spf13/pflag",
		"httpbackend/server links httpbackend",
		"lock links golang.org/x/sys/unix",
		"memory links tfconfig",
		"memory links tfconfig",
		"s3 links testing by internal/fake",
		"tfconfig links all",
		"tfconfig links all",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
