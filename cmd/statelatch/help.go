package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootHelp = `Statelatch reads, writes, locks and copies the states of Terraform, OpenTofu and
other tools, in the place where those keep them: S3, Google Cloud Storage, Azure
Blob Storage, Consul, an HTTP server, or files. It sees their locks, and they
see its own.

It finds the backend as they do: from the backend block in the current directory
(or the one that --chdir names) and from what init recorded there. --program
says whose files count where there are those of both programs. Or --url says
where the backend is, in one line:

  local:terraform.tfstate
  s3://BUCKET/KEY?region=REGION&use_lockfile=true
  gcs://BUCKET/PREFIX
  azurerm://CONTAINER/KEY?storage_account_name=NAME
  consul://HOST:PORT/PATH
  https://HOST/PATH

The parameters are the settings of the backend block. Give credentials in the
environment, where the service's own tools look for them, not in a URL, which
other users of the machine may see.

What a command finds goes to standard output, as text for people or, with
--json, as JSON whose names do not change. Everything else goes to standard
error: messages, and, on a terminal alone, progress.`

const exitCodesHelp = `  0    done
  1    failed, for a reason that is none of the others
  2    the command line or the configuration is wrong; nothing was done
  3    somebody else holds the lock
  4    conflict: somebody else has written in between, or the state that is
       there is newer than the one pushed or copied, or an unrelated one
  5    not found: no such state, lock, output, bucket or file
  6    permission denied
  7    outcome unknown: the request may have been carried out, or not
  8    the lock was lost while it was needed
  126  lock -- COMMAND: the command cannot be run
  127  lock -- COMMAND: there is no such command
  130  stopped by Ctrl-C; 129 by SIGHUP, 143 by SIGTERM; 141 if whoever was to
       read the output is gone

"lock -- COMMAND" ends with the exit code of the command, or with 128 and the
number of the signal that ended it, unless the lock was lost. "serve" ends with
0 when a signal stops it.

With --json, an error is one line of JSON on standard error: {"error": {"kind",
"exit_code", "message", "hint", "workspace", "holder", "lock_id", "saved_to"}},
where the last five are left out if there is nothing to say. The kinds are
usage, configuration, held, conflict, not_found, permission, unknown, lost,
interrupted, corrupt, too_large, unsupported, transient, and failed for all
others.`

const environmentHelp = `  TF_WORKSPACE         the workspace, where --workspace is not given
  TF_DATA_DIR          where init keeps its records, instead of .terraform
  TF_CLI_ARGS_init     flags of init; -backend-config, -var and -var-file are
                       heeded, in TF_CLI_ARGS too
  TF_VAR_NAME          a variable that the backend block refers to, in OpenTofu
  STATELATCH_LOCK_ID   set by "lock -- COMMAND" for the command: the lock's ID
  STATELATCH_WORKSPACE the same: the locked workspace

Each service reads the variables that it reads for Terraform and OpenTofu, such
as AWS_PROFILE, GOOGLE_CREDENTIALS, ARM_CLIENT_ID, CONSUL_HTTP_TOKEN and
TF_HTTP_PASSWORD.`

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean, and errors as JSON", Long: exitCodesHelp}
}

func environmentTopic() *cobra.Command {
	return &cobra.Command{Use: "environment", Short: "The environment variables", Long: environmentHelp}
}

// usageTemplate is the second half of the help of a command.
const usageTemplate = `Usage:
{{if .HasAvailableSubCommands}}  {{.CommandPath}} COMMAND [FLAGS]{{else}}  {{.UseLine}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name 12}}{{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}
{{- if .HasHelpSubCommands}}

Topics:{{range .Commands}}{{if .IsAdditionalHelpTopicCommand}}
  {{rpad .Name 12}}{{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" tells more about a command.{{else if .HasParent}}

"statelatch help exit-codes" and "statelatch help environment" hold for every
command.{{end}}
`

// arguments is what cobra.RangeArgs is, in words.
func arguments(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		empty := slices.Index(args, "") // mostly a variable that is not set
		switch {
		case len(args) < least:
			return fmt.Errorf("%s is missing", strings.Join(names[len(args):], " and "))
		case len(args) > len(names) && strings.Contains(args[len(names)], ":"): // a URL may have secrets in it
			return errors.New("there is one argument too many; a URL comes after --url")
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many", args[len(names)])
		case empty >= 0:
			return fmt.Errorf("%s is empty", names[empty])
		}
		return nil
	}
}

// unknownCommand is what cobra says of a first argument that is no command, but does
// not repeat a URL.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if strings.Contains(args[0], ":") {
		return errors.New("a command comes first; a URL comes after --url")
	}
	like := ""
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		like = "; did you mean " + strings.Join(names, " or ") + "?"
	}
	return fmt.Errorf("there is no command %q%s", args[0], like)
}

// unknownFlag is what pflag says of a flag, but does not repeat an argument with one
// dash: what it means may be -NAME=SECRET.
func unknownFlag(_ *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && len(unknown.GetSpecifiedShortnames()) > 1 {
		return fmt.Errorf("there is no flag -%s; a flag begins with two dashes", unknown.GetSpecifiedName())
	}
	return err
}

// addHelp adds the command help, which fails where cobra's own does not.
func addHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Use, help.Short, help.Long = "help [COMMAND]", "Show the help of a command", "Show the help of a command, or a topic."
	help.Args = func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil {
			return err
		}
		return unknownCommand(cmd, rest)
	}
}

func example(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }

// freeText is the name of values that nothing depends on.
const freeText = "TEXT"

// named gives the value of a flag a name in the help.
func named(f *pflag.Flag, name string) {
	f.Value = namedValue{f.Value, name}
	if f.DefValue == "0s" || f.DefValue == "[]" {
		f.DefValue = "" // which is not worth a mention
	}
}

type namedValue struct {
	pflag.Value
	name string
}

func (v namedValue) Type() string { return v.name }
