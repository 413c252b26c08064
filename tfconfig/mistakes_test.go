package tfconfig_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/tfconfig"
)

var update = flag.Bool("update", false, "write testdata/mistakes.txt anew")

// secret is in many of the mistakes, and must be in no message.
const secret = "hunter2"

// A mistake is a directory, and what is said beside it, that cannot be opened. Its
// message is in testdata/mistakes.txt.
type mistake struct {
	name  string
	files map[string]string
	opts  tfconfig.Options
	env   map[string]string
}

func main(text string) map[string]string { return map[string]string{"main.tf": text} }

// store is a directory with a block of these settings.
func store(settings string) map[string]string { return main(block("store", settings)) }

const valid = "bucket = \"b\"\nkey = \"k\"\n"

func withConfig(items ...string) tfconfig.Options { return tfconfig.Options{BackendConfig: items} }

func with(files map[string]string, name, text string) map[string]string {
	files[name] = text
	return files
}

var terraform = tfconfig.Options{Program: tfconfig.Terraform}

var mistakes = []mistake{
	// Settings.
	{name: "misspelt", files: store(valid + "max_retrys = 1")},
	{name: "unknown", files: store(valid + "completely_different = 1")},
	{name: "misspelt within", files: store(valid + "endpoints = {\n  s4 = \"http://\"\n}")},
	{name: "missing", files: store("key = \"k\"")},
	{name: "several", files: store("max_retries = \"" + secret + "\"\nuse_lockfile = \"" + secret + "\"\ntypo = \"" + secret + "\"")},
	{name: "no number", files: store(valid + "max_retries = \"" + secret + "\"")},
	{name: "no boolean", files: store(valid + "use_lockfile = \"yes\"")},
	{name: "no duration", files: store(valid + "wait = \"15\"")},
	{name: "list for a value", files: store(valid + "prefix = [\"" + secret + "\"]")},
	{name: "value for an object", files: store(valid + "endpoints = \"" + secret + "\"")},
	{name: "value for a map", files: store(valid + "tags = \"" + secret + "\"")},
	{name: "null in a list", files: store(valid + "accounts = [null]")},
	{name: "missing within", files: store(valid + "assume_role = {\n  token = \"" + secret + "\"\n}")},
	{name: "written as a block", files: store(valid + "endpoints {\n  s3 = \"http://\"\n}")},
	{name: "twice", files: store(valid + "key = \"" + secret + "\"")},
	{name: "driver refuses", files: store(valid + "odd = \"" + secret + "\"")},
	{name: "local with an empty path", files: main(block("local", "path = \"\""))},
	{name: "in JSON", files: map[string]string{"main.tf.json": "{\"terraform\":\n  {\"backend\": {\"store\": {\n    \"bucket\": \"b\", \"key\": \"k\",\n    \"use_lockfile\": 7}}}}"}},

	// Syntax.
	{name: "unclosed block", files: main("terraform {\n  backend \"store\" {\n    token = \"" + secret + "\"\n")},
	{name: "unclosed text", files: store("token = \"" + secret)},
	{name: "missing label", files: main("terraform {\n  backend {}\n}")},
	{name: "two labels", files: main("terraform {\n  backend \"a\" \"b\" {}\n}")},
	{name: "blocks on one line", files: main("terraform { backend \"store\" {} }")},
	{name: "settings on one line", files: main("terraform {\n  backend \"store\" { bucket = \"b\", key = \"k\" }\n}")},
	{name: "block with its brace on the next line", files: main("terraform {\n  backend \"store\"\n  {\n  }\n}")},
	{name: "block with an equals sign", files: main("terraform {\n  backend \"store\" = {}\n}")},
	{name: "curly quotes", files: store("token = “" + secret + "”")},
	{name: "single quotes", files: store("token = '" + secret + "'")},
	{name: "semicolon", files: store("bucket = \"b\"; key = \"k\"")},
	{name: "backslash", files: store("path = \"C:\\states\"")},
	{name: "unclosed comment", files: main("/* one */\n" + block("store", valid) + "/* " + secret)},
	{name: "unclosed comment in a setting", files: store("max_retries = 4 / 2 /* " + secret)},
	{name: "in another file", files: with(store(valid), "other.tf", "resource \"a\" {\n  = "+secret+"\n}")},
	{name: "several files", files: with(main("{"), "other.tf", "}")},
	{name: "broken JSON", files: map[string]string{"main.tf.json": "{\"terraform\": {\n  \"backend\": {\"store\": {\"token\": " + secret + "}}}}"}},
	{name: "binary", files: main("\x7fELF\x00\x01")},
	{name: "no UTF-8", files: main("terraform {\n  \xff\xfe\n}")},
	{name: "nested too deep", files: main("x = " + strings.Repeat("[", 1<<20))},
	{name: "nested too deep, with closing brackets in texts", files: main("x = " + strings.Repeat(`["]", `, 1<<17))},
	{name: "the same in JSON", files: map[string]string{"main.tf.json": strings.Repeat(`["]", `, 1<<17)}},
	{name: "nested too deep in a text in JSON", files: map[string]string{"main.tf.json": `{"locals": {"x": "${` + strings.Repeat(`\u0028`, 1<<17) + `"}}`}},
	{name: "too many signs", files: main("x = " + strings.Repeat("!", 1<<20) + "true")},
	{name: "10 MB", files: main(strings.Repeat("# "+secret+"\n", 1<<20))},
	{name: "long expression", files: store(valid + "odd = \"" + strings.Repeat("x", 1<<17) + "\"")},

	// Blocks.
	{name: "two blocks", files: with(store(valid), "other.tf", "\n"+block("store", valid))},
	{name: "two blocks in one file", files: main(block("store", valid) + block("local", ""))},
	{name: "block and cloud", files: main("terraform {\n  cloud {}\n  backend \"store\" {}\n}")},
	{name: "cloud", files: main("terraform {\n  cloud {\n    organization = \"x\"\n  }\n}")},
	{name: "remote", files: main(block("remote", "organization = \"x\"\n  workspaces {\n    prefix = \"x-\"\n  }"))},
	{name: "state_store", files: main("terraform {\n  state_store \"x_y\" {\n    provider \"x\" {}\n  }\n}")},
	{name: "type that nobody has", files: main(block("store2", ""))},
	{name: "backend as a setting", files: main("terraform {\n  required_version = \"1\"\n  backend = \"store\"\n}")},
	{name: "backend in the plural", files: main("terraform {\n  backends \"store\" {}\n}")},
	{name: "backend in capitals", files: main("terraform {\n  Backend \"store\" {}\n}")},
	{name: "cloud and state_store misspelt", files: main("terraform {\n  clouds {}\n  statestore \"x\" {}\n}")},
	{name: "setting that looks like nothing in terraform", files: main("terraform {\n  bucket = \"" + secret + "\"\n}")},
	{name: "terraform misspelt", files: main("teraform {\n  backend \"store\" {}\n}")},
	{name: "terraform as a setting", files: main("terraform = {\n  backend = \"" + secret + "\"\n}")},
	{name: "backend at the top", files: main("backend \"store\" {}\nCloud = 1")},
	{name: "block that nobody knows", files: main("state {\n  token = \"" + secret + "\"\n}\nother {}")},
	{name: "backend misspelt in JSON", files: map[string]string{"main.tf.json": "{\"terraform\": [\n  {\"//\": \"x\", \"backends\": {\"store\": {}}}]}"}},
	{name: "terraform misspelt in JSON", files: map[string]string{"main.tf.json": "[{\"locals\": {}},\n  {\"Terraform\": {\"backend\": {\"store\": {}}}}]"}},
	{name: "backend without a type in JSON", files: map[string]string{"main.tf.json": "{\"terraform\": {\"backend\": \"" + secret + "\"}}"}},
	{name: "backend misspelt beside one", files: with(store(valid), "override.tf", "terraform {\n  bakend \"local\" {}\n}")},
	{name: "backend misspelt for Terraform", files: main("terraform {\n  backends \"store\" {}\n}"), opts: terraform},

	// Expressions.
	{name: "function", files: store(valid + "odd = upper(\"" + secret + "\")")},
	{name: "function in JSON", files: map[string]string{"main.tf.json": `{"terraform": {"backend": {"store": {"bucket": "${upper(\"` + secret + `\")}"}}}}`}},
	{name: "text without quotes", files: store(valid + "token = " + secret)},
	{name: "resource", files: store(valid + "odd = aws_s3_bucket.state.id")},
	{name: "division by zero", files: store(valid + "max_retries = 1 / 0")},
	{name: "huge number", files: store(valid + "max_retries = 1e99999999")},
	{name: "huge number in a text", files: store(valid + "odd = \"${1e99999999}\"")},
	{name: "huge number in JSON", files: map[string]string{"main.tf.json": `{"terraform": {"backend": {"store": {"bucket": "b", "key": "k", "accounts": ["${1e99999999}"], "odd": 1e99999999}}}}`}},
	{name: "huge number in a pair", files: store(valid), opts: withConfig("accounts=[1e99999999]")},
	{name: "huge number in a variable", files: withVariable("type = number"), env: map[string]string{"TF_VAR_v": "1e99999999"}},
	{name: "huge default", files: withVariable("type = number\ndefault = 1e99999999")},
	{name: "huge number in a variable in a text", files: with(store(valid+"odd = \"${var.v}\""), "vars.tf", "variable \"v\" {\n  type = number\n}"), env: map[string]string{"TF_VAR_v": "1e99999999"}},
	{name: "number that grows", files: with(store(valid+"odd = local.l60"), "locals.tf", strings.Replace(locals(61, "local.l%[1]d * local.l%[1]d"), "\""+secret+"\"", "9", 1))},
	{name: "huge number in a key", files: store(valid + "tags = { \"${1e99999999}\" = 1 }")},
	{name: "huge number in a key in JSON", files: map[string]string{"main.tf.json": `{"terraform": {"backend": {"store": {"bucket": "b", "key": "k", "tags": {"${1e99999999}": 1}}}}}`}},
	{name: "huge number in a type", files: withVariable("type = object({ a = optional(string, \"x${1e99999999}\") })\ndefault = {}")},
	{name: "number that grows in a list", files: with(store(valid+"odd = \"x${local.l60[0]}\""), "locals.tf", strings.Replace(locals(61, "[local.l%[1]d[0] * local.l%[1]d[0]]"), "\""+secret+"\"", "[9]", 1))},
	{name: "loops in loops", files: with(store(valid+"odd = [for a in local.x : [for b in local.x : [for c in local.x : [for d in local.x : 1]]]]"), "locals.tf", "locals {\n  x = ["+strings.Repeat("1, ", 1000)+"]\n}")},
	{name: "loop in a text", files: with(store(valid+"odd = \"%{for a in local.x}${local.s}%{endfor}\""), "locals.tf", "locals {\n  x = ["+strings.Repeat("1, ", 10000)+"]\n  s = \""+strings.Repeat("x", 60000)+"\"\n}")},
	{name: "sensitive number through a local", files: with(store(valid+"max_retries = local.l"), "vars.tf", "variable \"v\" {\n  default   = 1\n  sensitive = true\n}\nlocals {\n  l = var.v\n}")},
	{name: "no such member", files: with(store(valid+"odd = local.a.b"), "locals.tf", "locals {\n  a = { c = \""+secret+"\" }\n}")},
	{name: "variable for Terraform", files: with(store(valid+"odd = var.v"), "vars.tf", "variable \"v\" {\n  default = 1\n}"), opts: terraform},
	{name: "variable not declared", files: store(valid + "odd = var.v")},
	{name: "variable declared twice", files: with(store(valid), "vars.tf", "variable \"v\" {}\nvariable \"v\" {}")},
	{name: "variable without value", files: withVariable("type = string")},
	{name: "variable of another type", files: withVariable("type = number"), env: map[string]string{"TF_VAR_v": secret}},
	{name: "variable that takes an expression", files: withVariable("type = list(string)"), env: map[string]string{"TF_VAR_v": "[" + secret}},
	{name: "variable of an unknown type", files: withVariable("type = text\ndefault = \"a\"")},
	{name: "sensitive variable", files: withVariable("default = \"" + secret + "\"\nsensitive = true")},
	{name: "sensitive variable through a local", files: with(with(store(valid+"odd = local.l"), "vars.tf", "variable \"v\" {\n  sensitive = true\n}\nlocals {\n  l = \"x${var.v}\"\n}"), "terraform.tfvars", "v = \""+secret+"\"")},
	{name: "default that calls a function", files: withVariable("default = upper(\"" + secret + "\")")},
	{name: "local not defined", files: store(valid + "odd = local.l")},
	{name: "local defined twice", files: with(store(valid), "locals.tf", "locals {\n  l = 1\n}\nlocals {\n  l = 2\n}")},
	{name: "locals in a circle", files: with(store(valid+"odd = local.a"), "locals.tf", "locals {\n  a = local.b\n  b = local.a\n}")},
	{name: "locals in a long row", files: with(store(valid+"odd = local.l999"), "locals.tf", locals(1000, "local.l%d"))},
	{name: "locals that explode", files: with(store(valid+"odd = local.l60"), "locals.tf", locals(61, "\"${local.l%[1]d}${local.l%[1]d}\""))},
	{name: "flag without variable", files: withVariable("default = 1"), opts: tfconfig.Options{Vars: map[string]string{"w": secret}}},
	{name: "tfvars file is missing", files: withVariable("default = 1"), opts: tfconfig.Options{VarFiles: []string{"none.tfvars"}}},
	{name: "tfvars file is broken", files: withVariable("default = 1", "terraform.tfvars", "v = \""+secret)},
	{name: "tfvars file has a reference", files: withVariable("default = 1", "terraform.tfvars", "v = "+secret)},

	// -backend-config.
	{name: "pair misspelt", files: store(valid), opts: withConfig("tokem=" + secret)},
	{name: "pair of the wrong type", files: store(valid), opts: withConfig("max_retries=" + secret)},
	{name: "pair that has to be a list", files: store(valid), opts: withConfig("accounts=" + secret)},
	{name: "pair that has to be an expression", files: store(valid), opts: withConfig("tags={a=")},
	{name: "pair from the environment", files: store(valid), env: map[string]string{"TF_CLI_ARGS_init": "-backend-config=max_retries=" + secret}},
	{name: "one of several is empty", files: store(valid), opts: withConfig("key=k", "")},
	{name: "file is missing", files: store(valid), opts: withConfig("prod.tfbackend")},
	{name: "file is a directory", files: store(valid), opts: withConfig(".")},
	{name: "file with a block", files: with(store(valid), "a.tfbackend", block("store", valid)), opts: withConfig("a.tfbackend")},
	{name: "file misspelt", files: with(store(valid), "a.tfbackend", "\ntokem = \""+secret+"\""), opts: withConfig("a.tfbackend")},
	{name: "file is broken", files: with(store(valid), "a.tfbackend", "token: "+secret), opts: withConfig("a.tfbackend")},
	{name: "no block for it", files: main("terraform {}"), opts: withConfig("token=" + secret)},

	// The record and the workspace.
	{name: "record is broken", files: with(store(valid), ".terraform/terraform.tfstate", "{\n  \"version\": 3,\n  "+secret)},
	{name: "record is broken off", files: with(store(valid), ".terraform/terraform.tfstate", "{\n  \"version\": 3,\n")},
	{name: "record and more", files: with(store(valid), ".terraform/terraform.tfstate", "{\"version\": 3}{}")},
	{name: "record is a list", files: with(store(valid), ".terraform/terraform.tfstate", "[]")},
	{name: "record is a state", files: with(store(valid), ".terraform/terraform.tfstate", "{\"version\": 4, \"outputs\": {}}")},
	{name: "record with wrong types", files: with(store(valid), ".terraform/terraform.tfstate", "{\"version\": 3, \"backend\": {\"type\": \"store\", \"config\": 5}}")},
	{name: "record is a directory", files: with(store(valid), ".terraform/terraform.tfstate/", "")},
	{name: "record of an older driver", files: with(store(valid), ".terraform/terraform.tfstate", `{"version": 3, "backend": {"type": "store", "config": {"bucket": "b", "key": "k", "lock_table": "`+secret+`"}}}`)},
	{name: "record contradicts the block", files: with(store(valid), ".terraform/terraform.tfstate", `{"version": 3, "backend": {"type": "store", "config": {"bucket": "`+secret+`", "key": "k"}}}`)},
	{name: "record contradicts a *.tofu in place of a *.tf", files: with(with(store(valid), "main.tofu", block("store", valid)), ".terraform/terraform.tfstate", `{"version": 3, "backend": {"type": "store", "config": {"bucket": "`+secret+`", "key": "k"}}}`)},
	{name: "record of another type", files: with(store(valid), ".terraform/terraform.tfstate", `{"version": 3, "backend": {"type": "local", "config": {"path": "x"}}}`)},
	{name: "record and no block", files: with(main(""), ".terraform/terraform.tfstate", recordedStore)},
	{name: "data directory is a file", files: with(store(valid), ".terraform", "")},
	{name: "workspace in the environment", files: store(valid), env: map[string]string{"TF_WORKSPACE": "a/b"}},
	{name: "workspace that was selected", files: with(store(valid), ".terraform/environment", "a b\n")},
	{name: "workspace in the options", files: store(valid), opts: tfconfig.Options{Workspace: "a\x00b"}},

	// The directory.
	{name: "empty"},
	{name: "file in a circle", files: map[string]string{"main.tf": "-> main.tf"}},
	{name: "file that leads nowhere", files: map[string]string{"main.tf": "-> none"}},
	{name: "link to a directory", files: map[string]string{"sub/": "", "main.tf": "-> sub"}},
	{name: "data directory in a circle", files: with(store(valid), ".terraform", "-> .terraform")},
}

// locals returns the definitions l0 to l(n-1), each of the one before.
func locals(n int, format string) string {
	var s strings.Builder
	s.WriteString("locals {\n  l0 = \"" + secret + "\"\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&s, "  l%d = %s\n", i, fmt.Sprintf(format, i-1))
	}
	return s.String() + "}\n"
}

func TestMistakes(t *testing.T) {
	const file = "testdata/mistakes.txt"
	var got bytes.Buffer
	for _, m := range mistakes {
		dir := directory(t, m.files)
		m.opts.Getenv = environment(m.env)
		b, _, err := tfconfig.Open(t.Context(), mux(), dir, m.opts)
		if b != nil || err == nil {
			t.Errorf("%s: opened", m.name)
			continue
		}
		text := strings.ReplaceAll(err.Error(), dir, "DIR")
		if strings.Contains(text, secret) {
			t.Errorf("%s: the message shows the secret", m.name)
		}
		if !errors.Is(err, backend.ErrInvalid) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v is neither invalid nor unsupported", m.name, err)
		}
		fmt.Fprintf(&got, "## %s\n%s\n\n", m.name, text)
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A socket stands for all files that nobody should wait for.
func TestNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := tfconfig.Load(dir, tfconfig.Options{}); err == nil || !strings.Contains(err.Error(), "main.tf: it is no file but a device, pipe or socket") {
		t.Error(err)
	}
}

func TestNoDirectory(t *testing.T) {
	dir := directory(t, main(""))
	for name, want := range map[string]string{"none": "it cannot be read: no such file", "main.tf": "it is no directory"} {
		path := filepath.Join(dir, name)
		_, err := tfconfig.Load(path, tfconfig.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), path+": "+want) {
			t.Error(err)
		}
	}
}
