package tfconfig

import (
	"errors"
	"maps"
	"strings"
)

// An item is what one -backend-config was given.
type item struct {
	text string
	from string // the variable it comes from, if any
}

// items returns what -backend-config was given, the first first. An option "" alone
// only keeps the record from being used.
func (l *loader) items() []item {
	var items []item
	for _, f := range l.flags() {
		if f.name == "backend-config" {
			items = append(items, item{f.value, f.from})
		}
	}
	if len(items) > 0 && len(l.opts.BackendConfig) == 1 && l.opts.BackendConfig[0] == "" {
		return items
	}
	for _, text := range l.opts.BackendConfig {
		items = append(items, item{text, ""})
	}
	return items
}

// override puts the items over the settings of the block, one setting at a time.
func (e *evaluator) override(settings map[string]setting) error {
	items := e.items()
	var errs []error
	for _, it := range items {
		name, value, pair := strings.Cut(it.text, "=")
		switch {
		case it.text == "" && len(items) == 1:
		case it.text == "":
			errs = append(errs, invalid(Origin{}, `a -backend-config is ""; that stands for none, and only where it is the only one`))
		case pair:
			settings[name] = setting{value: value, raw: true, origin: Origin{Kind: FromOption, Name: name, Via: it.from}}
		default:
			errs = append(errs, e.overrideFile(settings, it))
		}
	}
	return errors.Join(errs...)
}

func (e *evaluator) overrideFile(settings map[string]setting, it item) error {
	path := e.abs(it.text)
	file, err := e.parse(path, FromFile)
	if err != nil {
		return err
	}
	at := e.in(path, FromFile)
	at.Via = it.from
	found, err := e.bodySettings(file.Body, at)
	if err != nil {
		return err
	}
	maps.Copy(settings, found)
	return nil
}

// A flag is one that TF_CLI_ARGS or TF_CLI_ARGS_init adds to the command line of
// init.
type flag struct{ name, value, from string }

// flags returns those of them that matter here, in the order in which they count:
// what is for init alone is put before what is for every command.
func (l *loader) flags() []flag {
	var flags []flag
	for _, from := range []string{"TF_CLI_ARGS_init", "TF_CLI_ARGS"} {
		args := words(l.env(from))
		for i := 0; i < len(args); i++ {
			dashed, ok := strings.CutPrefix(args[i], "-")
			name, value, given := strings.Cut(strings.TrimPrefix(dashed, "-"), "=")
			if !ok || name != "backend-config" && name != "var" && name != "var-file" {
				continue
			}
			if !given {
				if i++; i == len(args) {
					break
				}
				value = args[i]
			}
			flags = append(flags, flag{name, value, from})
		}
	}
	return flags
}

// words splits a text as a shell does: at blanks, but for what is in quotes or after
// a backslash, and up to where a command ends, as it does for the programs. Nothing in
// it is expanded.
func words(s string) (words []string) {
	var word []byte // nil between words
	var quote byte
	escaped := false
text:
	for _, c := range []byte(s) {
		switch {
		case escaped:
			word, escaped = append(word, c), false
		case c == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
			word = append([]byte{}, word...) // what is quoted is a word, even if it is empty
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			if word != nil {
				words = append(words, string(word))
			}
			word = nil
		case quote == 0 && strings.IndexByte(";&|<>", c) >= 0:
			break text
		default:
			word = append(word, c)
		}
	}
	if word != nil {
		words = append(words, string(word))
	}
	return words
}
