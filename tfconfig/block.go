package tfconfig

import (
	"errors"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// A module is what of the configuration can matter to its backend.
type module struct {
	files     int
	block     *block // nil if there is none
	variables map[string]*variable
	locals    map[string]*local
	strange   error // the first name that neither program knows
}

// A block is a backend block, or what stands in its place.
type block struct {
	typ    string // its label; "cloud" or "state_store" for blocks of those names
	body   hcl.Body
	origin Origin
}

var (
	terraformBlocks = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "terraform"}}}
	tofuBlocks      = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "terraform"}, {Type: "variable", LabelNames: []string{"name"}}, {Type: "locals"},
	}}
	backendBlocks = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}, {Type: "state_store", LabelNames: []string{"type"}},
	}}
)

// scan reads the configuration files. The module is what could be understood.
func (l *loader) scan() (*module, error) {
	primary, override, err := l.configFiles()
	if err != nil {
		return nil, err
	}
	m := &module{files: len(primary) + len(override), variables: map[string]*variable{}, locals: map[string]*local{}}
	var errs []error
	for _, name := range primary {
		errs = append(errs, l.scanFile(m, name, false))
	}
	for _, name := range override {
		errs = append(errs, l.scanFile(m, name, true))
	}
	if m.block == nil {
		errs = append(errs, m.strange)
	}
	return m, errors.Join(errs...)
}

func (l *loader) scanFile(m *module, name string, override bool) error {
	file, err := l.parse(l.abs(name), FromBlock)
	if err != nil {
		return err
	}
	at := Origin{Kind: FromBlock, File: name}
	schema := tofuBlocks
	if l.opts.Program == Terraform {
		schema = terraformBlocks
	}
	content, _, diags := file.Body.PartialContent(schema)
	if diags.HasErrors() {
		return diagnosed(diags, at)
	}
	errs := m.unknown(topLevel, file.Body, file.Bytes, at)
	var backend *block // of this file
	for _, b := range content.Blocks {
		switch b.Type {
		case "terraform":
			errs = append(errs, scanTerraform(&backend, b.Body, at))
			errs = append(errs, m.unknown(inTerraform, b.Body, file.Bytes, at)...)
		case "variable":
			errs = append(errs, m.declare(b, at, override))
		case "locals":
			errs = append(errs, m.define(b.Body, at, override))
		}
	}
	if backend == nil {
		return errors.Join(errs...)
	}
	if m.block != nil && !override {
		return errors.Join(append(errs, duplicate(backend, m.block))...)
	}
	m.block = backend // whole, as an override of a backend is
	return errors.Join(errs...)
}

// scanTerraform looks for the one backend that the terraform blocks of a file have.
func scanTerraform(into **block, body hcl.Body, at Origin) error {
	content, _, diags := body.PartialContent(backendBlocks)
	if diags.HasErrors() {
		return diagnosed(diags, at)
	}
	for _, b := range content.Blocks {
		found := &block{b.Type, b.Body, at.at(b.DefRange)}
		if b.Type == "backend" {
			found.typ = b.Labels[0]
		}
		if *into != nil {
			return duplicate(found, *into)
		}
		*into = found
	}
	return nil
}

func duplicate(second, first *block) error {
	return invalid(second.origin, "a second backend is configured; the first is at %s; remove one of them", first.origin)
}

// attributes returns the settings in a body, which may hold nothing else.
func attributes(body hcl.Body, at Origin) (hcl.Attributes, error) {
	if native, ok := body.(*hclsyntax.Body); ok && len(native.Blocks) > 0 {
		b := native.Blocks[0]
		return nil, invalid(at.at(b.TypeRange), "%s is written as a block, and has no place here; settings are written NAME = VALUE, objects NAME = { … }", b.Type)
	}
	attrs, diags := body.JustAttributes()
	if diags.HasErrors() {
		return nil, diagnosed(diags, at)
	}
	return attrs, nil
}

// bodySettings evaluates the settings of a block or of a file.
func (e *evaluator) bodySettings(body hcl.Body, at Origin) (map[string]setting, error) {
	attrs, err := attributes(body, at)
	if err != nil {
		return nil, err
	}
	settings := map[string]setting{}
	for name, attr := range attrs {
		settings[name] = e.setting(attr, at)
	}
	return settings, nil
}
