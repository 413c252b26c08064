// Package tfconfig opens the backend that a Terraform or OpenTofu directory is
// configured for, with the workspace that is selected there:
//
//	b, workspace, err := tfconfig.Open(ctx, all.Mux(), ".", tfconfig.Options{})
//
// It reads files and variables of the environment, runs nothing, and makes no
// request. [Load] stops before the backend is opened, and [Config.Settings] then says
// of each setting where it comes from: file, line and column, a flag, a variable, the
// record of init, or a default.
//
// # Which configuration counts
//
// The backend block is looked for in the files that the program itself would read:
// *.tf and *.tf.json, override files last; for OpenTofu, also *.tofu and *.tofu.json,
// each in place of the *.tf or *.tf.json of the same name. [Options].Program says
// whose rules hold. They are OpenTofu's if nothing is said, since they are
// Terraform's but for these files, and variables.
//
// Init records the backend in the data directory, together with what it was given on
// its command line, and that record is what every later command uses. So does Load,
// as long as the block is the one that was recorded. Like the programs, it tells that
// by the hash of the block in the record; unlike them, it needs no schema for it, for
// the record names every attribute.
//
//	block            record           what is opened
//	none             none             local files, with the defaults
//	none             any              *ChangedError; if there are no files at all, the record
//	any              none             the block
//	the same         the same         the record
//	changed          another          *ChangedError
//
// A [*ChangedError] is the programs' "Backend initialization required": the state may
// be in the one place or in the other, and to guess would be to find no state where
// there is one. Where [Options].BackendConfig has something, even if only "", the
// caller has decided, and the record is not looked at. A value of the block that cannot
// be known here (from a variable without a value, or a function call) was known to
// init, so it does not count as a change.
//
// A backend block that is misspelt or misplaced must not pass for none: names that
// resemble one that leads to a backend, and where no backend is found all names that
// neither program knows, in any version, are errors.
//
// A directory without any configuration, without a record and without a
// terraform.tfstate is an error: it most likely is the wrong one.
//
// # Values
//
// The block, and files of -backend-config, may have literal values and expressions.
// For OpenTofu they may refer to variables and locals, to path.module, path.root,
// path.cwd and terraform.workspace. Variables are set as for its own commands: by
// their default, TF_VAR_NAME, terraform.tfvars, terraform.tfvars.json, *.auto.tfvars
// and *.auto.tfvars.json, -var-file, -var, the last of these first. A sensitive or
// ephemeral one is refused, as OpenTofu does. Functions are not called. What cannot be
// known is an error that names it, at its place.
//
// -backend-config goes before the block, a later item before an earlier one, setting
// by setting. Those that TF_CLI_ARGS_init and TF_CLI_ARGS add to the command line of
// init are the earliest.
//
// Relative paths are taken from the directory, not from where the process runs: those
// of the options, of TF_DATA_DIR, and of every setting that names a file. Only what
// the services' own clients read from variables of theirs (AWS_CONFIG_FILE,
// CONSUL_CACERT) is taken from the working directory.
//
// # Errors
//
// Each mistake is an [*Error], with its place and what to do about it; several are
// joined. No message repeats a value, for it may be a secret, and no verb of package
// fmt prints the settings of a Config.
//
// HCP Terraform (a cloud block, backend "remote"), state_store blocks and backends
// that the Mux lacks are found by Load as any other, and are an [*UnsupportedError]
// when they are to be opened.
//
// Files are limited to 8 MiB, expressions and values to 64 KiB, and nesting to a depth
// that the parser bears, so that no configuration ends the process.
package tfconfig
