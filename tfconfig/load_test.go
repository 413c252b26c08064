package tfconfig_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/tfconfig"
)

const rest = "prefix = env: (default)\n"

// A directory, what is said beside it, and what it is configured for.
var loads = []struct {
	name  string
	files map[string]string
	opts  tfconfig.Options
	env   map[string]string
	want  string
}{
	// Which files are read.
	{name: "a block", files: map[string]string{"main.tf": block("store", "bucket = \"b\"\nkey = \"k\"")},
		want: "bucket = b (main.tf:3:1)\nkey = k (main.tf:4:1)\n" + rest},
	{name: "JSON", files: map[string]string{"main.tf.json": `{"terraform": {"backend": {"store": {"bucket": "b", "key": "${1}", "//": "a comment"}}}}`},
		opts: tfconfig.Options{Program: tfconfig.Terraform},
		want: "bucket = b (main.tf.json:1:38)\nkey = ${1} (main.tf.json:1:53)\n" + rest},
	{name: "JSON for OpenTofu has templates", files: map[string]string{"main.tf.json": `{"terraform": [{"backend": {"store": {"bucket": "b", "key": "${1 + 1}"}}}]}`},
		want: "bucket = b (main.tf.json:1:39)\nkey = 2 (main.tf.json:1:54)\n" + rest},
	{name: "what else is in the files does not matter", files: map[string]string{
		"a.tf":     "resource \"x\" \"y\" {\n  for_each = nonsense(foo.bar)\n}\nterraform {\n  required_version = \"> 99\"\n}\n",
		"b.tf":     block("store", "bucket = \"b\"\nkey = \"k\""),
		"c.tf.d/":  "",
		".d.tf":    "{",
		"e.tf~":    "{",
		"#f.tf#":   "{",
		"x.tf/":    "",
		"x.tftest": "{",
	}, want: "bucket = b (b.tf:3:1)\nkey = k (b.tf:4:1)\n" + rest},
	{name: "blocks of a version to come, beside a backend", files: map[string]string{
		"a.tf": "novelty \"x\" {}\nterraform {\n  novelty {}\n}\n",
		"b.tf": block("store", "bucket = \"b\"\nkey = \"k\""),
	}, want: "bucket = b (b.tf:3:1)\nkey = k (b.tf:4:1)\n" + rest},
	{name: "an override replaces the whole block", files: map[string]string{
		"main.tf":       block("store", "bucket = \"b\"\nkey = \"k\"\nprefix = \"p\""),
		"a_override.tf": block("store", "bucket = \"a\"\nkey = \"a\""),
		"override.tf":   block("store", "bucket = \"o\"\nkey = \"o\""),
	}, want: "bucket = o (override.tf:3:1)\nkey = o (override.tf:4:1)\n" + rest},
	{name: "tofu before tf", files: map[string]string{
		"main.tf":   block("store", "bucket = \"tf\"\nkey = \"k\""),
		"main.tofu": block("store", "bucket = \"tofu\"\nkey = \"k\""),
	}, want: "bucket = tofu (main.tofu:3:1)\nkey = k (main.tofu:4:1)\n" + rest},
	{name: "Terraform reads no tofu", files: map[string]string{
		"main.tf":    block("store", "bucket = \"tf\"\nkey = \"k\""),
		"main.tofu":  block("store", "bucket = \"tofu\"\nkey = \"k\""),
		"other.tofu": "{",
	}, opts: tfconfig.Options{Program: tfconfig.Terraform}, want: "bucket = tf (main.tf:3:1)\nkey = k (main.tf:4:1)\n" + rest},
	{name: "tofu.json before tf.json", files: map[string]string{
		"main.tf.json":   "{",
		"main.tofu.json": `{"terraform": {"backend": {"store": {"bucket": "b", "key": "k"}}}}`,
	}, want: "bucket = b (main.tofu.json:1:38)\nkey = k (main.tofu.json:1:53)\n" + rest},
	{name: "a linked file", files: map[string]string{"main.tf": "-> other/file", "other/file": block("store", "bucket = \"b\"\nkey = \"k\"")},
		want: "bucket = b (main.tf:3:1)\nkey = k (main.tf:4:1)\n" + rest},

	// Values.
	{name: "every type", files: map[string]string{"main.tf": block("store", `bucket = "b"
key          = 12
use_lockfile = "true"
max_retries  = "3"
wait         = "15m"
token        = "secret"
accounts     = ["z", 1, "a"]
tags         = { a = 1, "b" = true }
endpoints    = { s3 = "http://s3" }
assume_role  = {
  role_arn = "arn"
  token    = "secret"
}
prefix       = null
odd          = ""`)},
		want: `bucket = b (main.tf:3:1)
key = 12 (main.tf:4:1)
prefix = env: (default)
use_lockfile = true (main.tf:5:1)
max_retries = 3 (main.tf:6:1)
wait = 15m0s (main.tf:7:1)
token = (redacted) (main.tf:8:1)
accounts = [z 1 a] (main.tf:9:1)
tags = map[a:1 b:true] (main.tf:10:1)
endpoints.s3 = http://s3 (main.tf:11:18)
assume_role.role_arn = arn (main.tf:13:3)
assume_role.token = (redacted) (main.tf:14:3)
odd =  (main.tf:17:1)
`},
	{name: "expressions", files: map[string]string{"main.tf": block("store", "bucket = \"a-${1 + 2}\"\nkey = <<EOT\nx\nEOT\nprefix = true ? null : 1\naccounts = [for s in [\"a\"] : \"${s}!\"]")},
		opts: tfconfig.Options{Program: tfconfig.Terraform},
		want: "bucket = a-3 (main.tf:3:1)\nkey = x\n (main.tf:4:1)\n" + rest + "accounts = [a!] (main.tf:8:1)\n"},
	{name: "names of files", files: map[string]string{"key.json": "{}", "main.tf": block("store", "bucket = \"b\"\nkey = \"k\"\nca_file = \"~/ca\"\nprofiles = [\"a\", \"~/b\", \"/c\"]\ncredentials = \"key.json\"")},
		want: "bucket = b (main.tf:3:1)\nkey = k (main.tf:4:1)\n" + rest + "ca_file = DIR/~/ca (main.tf:5:1)\nprofiles = [DIR/a ~/b /c] (main.tf:6:1)\ncredentials = (redacted) (main.tf:7:1)\n"},
	{name: "much JSON", files: map[string]string{
		"main.tf.json": `{"terraform": {"backend": {"store": {"bucket": "b", "key": "k"}}}}`,
		"more.tf.json": `{"locals": {"x": [` + strings.Repeat(`{"a": ["[\"?"]}, `, 1<<17) + `0]}}`,
	}, want: "bucket = b (main.tf.json:1:38)\nkey = k (main.tf.json:1:53)\n" + rest},
	{name: "rulers", files: map[string]string{"main.tf": "/*\n" + strings.Repeat(strings.Repeat("-", 80)+"\n", 30) + "*/" + block("store", "bucket = \"b\"\nkey = <<EOT\n"+strings.Repeat("-", 3000)+"\nEOT")},
		want: "bucket = b (main.tf:34:1)\nkey = " + strings.Repeat("-", 3000) + "\n (main.tf:35:1)\n" + rest},

	// -backend-config.
	{name: "items override one setting at a time, the last wins",
		files: map[string]string{
			"main.tf":       block("store", "bucket = \"b\"\nmax_retries = 1\nprefix = \"p\"\nwait = \"1s\""),
			"a.tfbackend":   "key = \"file\"\nmax_retries = 2\nprefix = null\naccounts = [\"file\"]",
			"b.json":        `{"wait": "2s"}`,
			"c/d.tfbackend": "wait = \"3s\"",
		},
		opts: tfconfig.Options{BackendConfig: []string{"key=first", "a.tfbackend", "max_retries=3", "b.json", "bucket=x=y", "c/d.tfbackend", `accounts=["a", "b"]`, "token=secret"}},
		want: `bucket = x=y (-backend-config bucket=…)
key = file (a.tfbackend:1:1)
prefix = env: (default)
max_retries = 3 (-backend-config max_retries=…)
wait = 3s (c/d.tfbackend:1:1)
token = (redacted) (-backend-config token=…)
accounts = [a b] (-backend-config accounts=…)
`},
	{name: "pairs of objects and maps", files: map[string]string{"main.tf": block("store", "bucket = \"b\"")},
		opts: tfconfig.Options{BackendConfig: []string{`key=["not", "parsed"]`, `tags={a = "b"}`, `endpoints={s3="http://s3"}`, `assume_role={"role_arn": "r"}`}},
		want: `bucket = b (main.tf:3:1)
key = ["not", "parsed"] (-backend-config key=…)
prefix = env: (default)
tags = map[a:b] (-backend-config tags=…)
endpoints.s3 = http://s3 (-backend-config endpoints=…)
assume_role.role_arn = r (-backend-config assume_role=…)
`},
	{name: "what the environment adds to the command line of init",
		files: map[string]string{"main.tf": block("store", "bucket = \"b\""), "a b.tfbackend": "wait = \"1s\""},
		env: map[string]string{
			"TF_CLI_ARGS_init": `-input=false -backend-config=key=init --backend-config 'prefix=a b' -backend-config="a b.tfbackend"`,
			"TF_CLI_ARGS":      `-no-color -backend-config key=ar\gs -backend-config`,
		},
		want: "bucket = b (main.tf:3:1)\nkey = args (-backend-config key=… (TF_CLI_ARGS))\nprefix = a b (-backend-config prefix=… (TF_CLI_ARGS_init))\nwait = 1s (a b.tfbackend:1:1 (TF_CLI_ARGS_init))\n"},
	{name: "options go before the environment", files: map[string]string{"main.tf": block("store", "bucket = \"b\"")},
		opts: tfconfig.Options{BackendConfig: []string{"key=option"}},
		env:  map[string]string{"TF_CLI_ARGS_init": "-backend-config=key=init -backend-config=wait=1s"},
		want: "bucket = b (main.tf:3:1)\nkey = option (-backend-config key=…)\nprefix = env: (default)\nwait = 1s (-backend-config wait=… (TF_CLI_ARGS_init))\n"},
	{name: "the environment's command ends as the program's does", files: map[string]string{"main.tf": block("store", "bucket = \"b\"")},
		env:  map[string]string{"TF_CLI_ARGS_init": "-backend-config=prefix='a;b' -backend-config=key=x&y -backend-config=wait=1s"},
		want: "bucket = b (main.tf:3:1)\nkey = x (-backend-config key=… (TF_CLI_ARGS_init))\nprefix = a;b (-backend-config prefix=… (TF_CLI_ARGS_init))\n"},
	{name: "no option beside the environment", files: map[string]string{"main.tf": block("store", "bucket = \"b\""), ".terraform/terraform.tfstate": recordedStore},
		opts: tfconfig.Options{BackendConfig: []string{""}}, env: map[string]string{"TF_CLI_ARGS_init": "-backend-config=key=init"},
		want: "bucket = b (main.tf:3:1)\nkey = init (-backend-config key=… (TF_CLI_ARGS_init))\n" + rest},

	// Variables and locals.
	{name: "defaults and locals",
		files: map[string]string{
			"main.tf":     block("store", "bucket = local.b\nkey = \"${var.e}/${local.names[1]}\"\nprefix = terraform.workspace\naccounts = var.o.list\nca_file = \"${path.module}/ca\""),
			"vars.tf":     "variable \"e\" {\n  default = \"env\"\n}\nvariable \"o\" {\n  type = object({list = list(string), x = optional(string, \"y\")})\n  default = {list = [1]}\n}\nlocals {\n  b     = \"${var.e}-${var.o.x}\"\n  names = [\"a\", upper]\n}\n",
			"override.tf": "locals {\n  names = [\"a\", \"over\"]\n}\nvariable \"e\" {\n  default = \"enw\"\n}\n",
		},
		opts: tfconfig.Options{Workspace: "w"},
		want: `bucket = enw-y (main.tf:3:1 (var.e by default, var.o by default))
key = enw/over (main.tf:4:1 (var.e by default))
prefix = w (main.tf:5:1)
accounts = [1] (main.tf:6:1 (var.o by default))
ca_file = DIR/ca (main.tf:7:1)
`},
	{name: "the environment", files: withVariable("default = \"d\""), env: map[string]string{"TF_VAR_v": "env"},
		want: variable("env", "TF_VAR_v")},
	{name: "terraform.tfvars before the environment", files: withVariable("", "terraform.tfvars", "v = \"tfvars\"\nelse = 1"), env: map[string]string{"TF_VAR_v": "env"},
		want: variable("tfvars", "terraform.tfvars:1:1")},
	{name: "terraform.tfvars.json before terraform.tfvars", files: withVariable("", "terraform.tfvars", "v = \"tfvars\"", "terraform.tfvars.json", `{"v": "j${son"}`),
		want: variable("j${son", "terraform.tfvars.json:1:2")},
	{name: "auto.tfvars in the order of their names", files: withVariable("", "terraform.tfvars.json", `{"v": "json"}`, "b.auto.tfvars", "v = \"b\"", "a.auto.tfvars.json", `{"v": "a"}`),
		want: variable("b", "b.auto.tfvars:1:1")},
	{name: "flags in the environment", files: withVariable("", "b.auto.tfvars", "v = \"b\"", "x.tfvars", "v = \"x\""), env: map[string]string{"TF_CLI_ARGS_init": "-var v=flag -var-file=x.tfvars", "TF_CLI_ARGS": "-var=v=args"},
		want: variable("args", "-var v in TF_CLI_ARGS")},
	{name: "-var-file", files: withVariable("", "b.auto.tfvars", "v = \"b\"", "x.tfvars", "v = \"x\"", "y.tfvars", "v = \"y\""), opts: tfconfig.Options{VarFiles: []string{"x.tfvars", "y.tfvars"}}, env: map[string]string{"TF_CLI_ARGS_init": "-var v=flag"},
		want: variable("y", "y.tfvars:1:1")},
	{name: "-var", files: withVariable("", "x.tfvars", "v = \"x\""), opts: tfconfig.Options{VarFiles: []string{"x.tfvars"}, Vars: map[string]string{"v": "var"}},
		want: variable("var", "-var v")},
	{name: "a text for a number", files: withVariable("type = number"), env: map[string]string{"TF_VAR_v": "07"},
		want: variable("7", "TF_VAR_v")},
	{name: "types in quotes", files: withVariable("type = \"string\""), env: map[string]string{"TF_VAR_v": "[1]"},
		want: variable("[1]", "TF_VAR_v")},
	{name: "a null that is not allowed is the default", files: withVariable("type = string\ndefault = \"d\"\nnullable = false", "terraform.tfvars", "v = null"),
		want: "bucket = d (main.tf:3:1 (var.v by default))\nkey = k (main.tf:4:1)\n" + rest},
	{name: "an expression for another type", files: map[string]string{"main.tf": "variable \"v\" {\n  type = list(string)\n}\n" + block("store", "bucket = var.v[1]\nkey = \"k\"")}, env: map[string]string{"TF_VAR_v": `["a", "b"]`},
		want: "bucket = b (main.tf:6:1 (var.v of TF_VAR_v))\nkey = k (main.tf:7:1)\n" + rest},
	{name: "variables in -backend-config files", files: withVariable("default = \"d\"", "x.tfbackend", "key = var.v"), opts: tfconfig.Options{BackendConfig: []string{"x.tfbackend"}},
		want: "bucket = d (main.tf:3:1 (var.v by default))\nkey = d (x.tfbackend:1:1 (var.v by default))\n" + rest},

	// No backend.
	{name: "no block", files: map[string]string{"main.tf": "terraform {}"}, want: "path = DIR/terraform.tfstate (default)\nworkspace_dir = DIR/terraform.tfstate.d (default)\n"},
	{name: "all that the programs know, and no block", files: map[string]string{"main.tf": "language {}\naction \"a\" \"b\" {}\ncheck \"a\" {}\nmoved {}\nterraform {\n  required_version = \"1\"\n  encryption {}\n  required_providers {\n    cloud = {}\n  }\n}", "main.tf.json": `{"//": "a comment", "data": {}, "import": [], "terraform": {"provider_meta": {}}}`},
		want: "path = DIR/terraform.tfstate (default)\nworkspace_dir = DIR/terraform.tfstate.d (default)\n"},
	{name: "only a state", files: map[string]string{"terraform.tfstate": ""}, want: "path = DIR/terraform.tfstate (default)\nworkspace_dir = DIR/terraform.tfstate.d (default)\n"},
	{name: "local", files: map[string]string{"main.tf": block("local", "path = \"../x\"\nworkspace_dir = \"/w\"")}, want: "path = /x (main.tf:3:1)\nworkspace_dir = /w (main.tf:4:1)\n"},
}

// withVariable returns a block with var.v, and more files.
func withVariable(declaration string, more ...string) map[string]string {
	files := map[string]string{
		"main.tf": block("store", "bucket = var.v\nkey = \"k\""),
		"vars.tf": "variable \"v\" {\n" + declaration + "\n}\n",
	}
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

func variable(value, from string) string {
	return "bucket = " + value + " (main.tf:3:1 (var.v of " + from + "))\nkey = k (main.tf:4:1)\n" + rest
}

func TestLoad(t *testing.T) {
	for _, test := range loads {
		t.Run(test.name, func(t *testing.T) {
			test.opts.Getenv = environment(test.env)
			dir := directory(t, test.files)
			c, err := tfconfig.Load(dir, test.opts)
			if err != nil {
				t.Fatal(err)
			}
			got := explained(t, c)
			if test.name == "local" { // one up from DIR
				got = "path = /x" + got[strings.Index(got, " (main"):]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
