package tfconfig

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/statelatch/statelatch/backend"
)

func (l *loader) load() (*Config, error) {
	var err error
	if l.workspace, err = l.selected(); err != nil {
		return nil, err
	}
	m, err := l.scan()
	if err != nil {
		return nil, err
	}
	var rec *record
	if len(l.opts.BackendConfig) == 0 {
		if rec, err = l.recorded(); err != nil {
			return nil, err
		}
	}
	e := &evaluator{loader: l, module: m, known: map[string]known{}}
	switch {
	case m.block == nil:
		return e.withoutBlock(rec)
	case rec == nil:
		return e.fromBlock()
	}
	return e.fromRecord(rec)
}

// selected returns the workspace that is selected.
func (l *loader) selected() (string, error) {
	name, at := l.opts.Workspace, Origin{}
	if name == "" {
		name, at = l.env("TF_WORKSPACE"), Origin{Kind: FromEnvironment, Name: "TF_WORKSPACE"}
	}
	if name == "" {
		path := filepath.Join(l.dataDir, "environment")
		data, err := l.read(path, FromRecord)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		name, at = strings.TrimSpace(string(data)), l.in(path, FromRecord)
	}
	if name == "" {
		return backend.DefaultWorkspace, nil
	}
	if err := backend.CheckWorkspace(name); err != nil {
		return "", &Error{at, err}
	}
	return name, nil
}

// withoutBlock goes by the record, if the files say nothing that it contradicts.
func (e *evaluator) withoutBlock(rec *record) (*Config, error) {
	here := Origin{File: e.dir}
	switch {
	case slices.ContainsFunc(e.opts.BackendConfig, func(s string) bool { return s != "" }):
		return nil, invalid(here, `-backend-config completes a backend block, and no file has one; add one, backend "TYPE" {}, on a line of its own within terraform { … }`)
	case rec != nil && e.files == 0:
		return e.config(rec.typ, Recorded, rec.origin, rec.settings()), nil
	case rec != nil:
		return nil, &ChangedError{Recorded: rec.typ, Record: rec.origin, Shadowed: e.shadowed}
	}
	if e.files == 0 {
		if _, err := os.Stat(e.abs("terraform.tfstate")); err != nil {
			return nil, invalid(here, "there is no configuration (*.tf, *.tofu, *.tf.json, *.tofu.json) and no state; name the directory that has it")
		}
	}
	return e.config("local", Nothing, Origin{}, nil), nil
}

// fromBlock takes what the files say, with -backend-config.
func (e *evaluator) fromBlock() (*Config, error) {
	b := e.block
	settings, err := e.blockSettings()
	if err == nil && !elsewhere(b.typ) {
		err = e.override(settings)
	}
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		errs = append(errs, settings[name].err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return e.config(b.typ, Block, b.origin, settings), nil
}

// blockSettings returns what the block itself says.
func (e *evaluator) blockSettings() (map[string]setting, error) {
	if elsewhere(e.block.typ) {
		return nil, nil
	}
	return e.bodySettings(e.block.body, e.block.origin)
}

// elsewhere reports whether the state is kept by something that no driver is for, whose
// block has blocks in it.
func elsewhere(typ string) bool { return typ == "cloud" || typ == "remote" || typ == "state_store" }

// fromRecord takes what init recorded, unless the block has changed since. Values
// that are not known now were known to init.
func (e *evaluator) fromRecord(rec *record) (*Config, error) {
	changed := &ChangedError{Recorded: rec.typ, Configured: e.block.typ, Record: rec.origin, Block: e.block.origin, Shadowed: e.shadowed}
	if rec.typ != e.block.typ {
		return nil, changed
	}
	settings, err := e.blockSettings()
	if err != nil {
		return nil, err
	}
	changed.Settings = differing(settings, rec)
	if len(changed.Settings) > 0 {
		return nil, changed
	}
	return e.config(rec.typ, Recorded, rec.origin, rec.settings()), nil
}

// differing returns the settings in which the block and the record differ, if the
// block has changed since it was recorded.
func differing(block map[string]setting, rec *record) []string {
	was := rec.settings()
	values, unknown := map[string]any{}, false
	for name, s := range block {
		unknown = unknown || s.err != nil
		if s.err == nil && s.value != nil {
			values[name] = s.value
		}
	}
	if elsewhere(rec.typ) || !unknown && unchanged(rec.hash, rec.typ, values, rec.config) {
		return nil
	}
	var changed, gone []string
	for name, value := range values {
		if !same(value, was[name].value) {
			changed = append(changed, name)
		}
	}
	for name := range was {
		if values[name] == nil {
			gone = append(gone, name) // or they were given to init alone
		}
	}
	if len(changed) == 0 && !unknown && rec.hash != 0 {
		changed = gone
	}
	slices.Sort(changed)
	return changed
}

// same compares values, lists as sets.
func same(a, b any) bool {
	a = recordedValue(a) // without nulls
	x, ok := a.([]any)
	y, also := b.([]any)
	if !ok || !also {
		return reflect.DeepEqual(a, b)
	}
	return reflect.DeepEqual(sorted(x), sorted(y))
}

func sorted(list []any) []any {
	return slices.SortedStableFunc(slices.Values(list), func(a, b any) int {
		x, _ := a.(string)
		y, _ := b.(string)
		return strings.Compare(x, y)
	})
}

func (e *evaluator) config(typ string, source Source, origin Origin, settings map[string]setting) *Config {
	return &Config{Dir: e.dir, Type: typ, Workspace: e.workspace, Source: source, Origin: origin, settings: settings}
}
