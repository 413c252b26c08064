package tfconfig

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// A variable is a declaration: its attributes by name, later files over earlier.
type variable struct {
	attrs  hcl.Attributes
	origin Origin
}

// A local is one local value.
type local struct {
	expr   hcl.Expression
	origin Origin
}

var variableAttributes = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
	{Name: "type"}, {Name: "default"}, {Name: "sensitive"}, {Name: "ephemeral"}, {Name: "nullable"},
}}

// declare notes a variable block.
func (m *module) declare(b *hcl.Block, at Origin, override bool) error {
	content, _, diags := b.Body.PartialContent(variableAttributes)
	if diags.HasErrors() {
		return diagnosed(diags, at)
	}
	name := b.Labels[0]
	v := m.variables[name]
	switch {
	case v == nil:
		m.variables[name] = &variable{content.Attributes, at.at(b.DefRange)}
	case override:
		maps.Copy(v.attrs, content.Attributes)
	default:
		return invalid(at.at(b.DefRange), "variable %q is declared a second time; the first is at %s", name, v.origin)
	}
	return nil
}

// define notes a locals block.
func (m *module) define(body hcl.Body, at Origin, override bool) error {
	attrs, err := attributes(body, at)
	if err != nil {
		return err
	}
	var errs []error
	for name, attr := range attrs {
		if l := m.locals[name]; l != nil && !override {
			errs = append(errs, invalid(at.at(attr.NameRange), "local.%s is defined a second time; the first is at %s", name, l.origin))
			continue
		}
		m.locals[name] = &local{attr.Expr, at.at(attr.NameRange)}
	}
	return errors.Join(errs...)
}

// An assignment is what a file or a flag says about a variable: an expression, or a
// text whose meaning depends on the variable's type.
type assignment struct {
	expr   hcl.Expression
	text   string
	origin string
}

// variable returns the value of a variable, and says by whom.
func (e *evaluator) variable(name string) known {
	v := e.variables[name]
	if v == nil {
		return known{err: fmt.Errorf("there is no variable %q; declare it, or write the value", name)}
	}
	if e.assigned == nil {
		if err := e.assign(); err != nil {
			return known{err: err}
		}
	}
	t, defaults, err := v.typ()
	if err != nil {
		return known{err: fmt.Errorf("var.%s of %s: its type cannot be read: %w", name, v.origin, err)}
	}
	k := known{value: cty.NilVal}
	if a, ok := e.assignment(name); ok {
		k.via = []string{fmt.Sprintf("var.%s of %s", name, a.origin)}
		k.value, k.err = a.value(v, t)
	}
	if k.err == nil && (k.value == cty.NilVal || k.value.IsNull() && !v.flag("nullable", true)) {
		k = v.byDefault(name)
	}
	if k.err == nil && defaults != nil && !k.value.IsNull() {
		k.value = defaults.Apply(k.value)
	}
	if k.err == nil {
		k.value, k.err = convert.Convert(k.value, t)
	}
	if k.err == nil && huge(k.value) {
		k.err = errHuge
	}
	if k.err != nil {
		return known{err: fmt.Errorf("var.%s: %w", name, k.err)}
	}
	if v.flag("sensitive", false) || v.flag("ephemeral", false) {
		k.value = k.value.Mark(sensitive(name))
	}
	return k
}

// quoted are types in the way of old versions, and in JSON.
var quoted = map[string]cty.Type{
	"string": cty.String, "number": cty.Number, "bool": cty.Bool,
	"list": cty.List(cty.DynamicPseudoType), "map": cty.Map(cty.DynamicPseudoType),
}

// typ returns the type that the variable is converted to.
func (v *variable) typ() (cty.Type, *typeexpr.Defaults, error) {
	attr := v.attrs["type"]
	if attr == nil {
		return cty.DynamicPseudoType, nil, nil
	}
	if err := bounded(attr.Expr, 0); err != nil {
		return cty.NilType, nil, err
	}
	if old, diags := attr.Expr.Value(nil); !diags.HasErrors() && old.Type() == cty.String && !old.IsNull() {
		if t, ok := quoted[old.AsString()]; ok {
			return t, nil, nil
		}
	}
	t, defaults, diags := typeexpr.TypeConstraintWithDefaults(attr.Expr)
	if diags.HasErrors() {
		return t, nil, evaluation(diags)
	}
	return t, defaults, nil
}

func (v *variable) flag(name string, otherwise bool) bool {
	attr := v.attrs[name]
	if attr == nil {
		return otherwise
	}
	value, err := literal(attr.Expr)
	if err != nil || value.IsNull() || !value.IsKnown() {
		return otherwise
	}
	b, err := convert.Convert(value, cty.Bool)
	if err != nil || b.IsNull() {
		return otherwise
	}
	return b.True()
}

func (v *variable) byDefault(name string) known {
	attr := v.attrs["default"]
	if attr == nil {
		return known{err: fmt.Errorf("it has no value; give it one with TF_VAR_%s, a .tfvars file or a default", name)}
	}
	value, err := literal(attr.Expr)
	if err != nil {
		return known{err: err}
	}
	return known{value: value, via: []string{fmt.Sprintf("var.%s by default", name)}}
}

// value reads the assignment for a variable of type t.
func (a assignment) value(v *variable, t cty.Type) (cty.Value, error) {
	expr := a.expr
	if expr == nil {
		if v.attrs["type"] == nil || t.IsPrimitiveType() {
			return cty.StringVal(a.text), nil
		}
		var err error
		if expr, err = parseExpression(a.text); err != nil {
			return cty.NilVal, fmt.Errorf("%s: its type takes an expression: %w", a.origin, err)
		}
	}
	value, err := literal(expr)
	if err != nil {
		return cty.NilVal, fmt.Errorf("%s: %w", a.origin, err)
	}
	return value, nil
}

// literal evaluates an expression that refers to nothing.
func literal(expr hcl.Expression) (cty.Value, error) {
	if err := bounded(expr, 0); err != nil {
		return cty.NilVal, err
	}
	value, diags := expr.Value(nil)
	if diags.HasErrors() {
		return cty.NilVal, evaluation(diags)
	}
	return value, nil
}

// parseExpression parses an expression that stands alone.
func parseExpression(text string) (hcl.Expression, error) {
	if len(text) > maxExpression || nesting([]byte(text)) > maxDepth {
		return nil, errors.New("it is too long or too deep")
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), "", hcl.InitialPos)
	if diags.HasErrors() {
		return nil, evaluation(diags)
	}
	return expr, nil
}

// assignment returns what was said last about a variable.
func (e *evaluator) assignment(name string) (assignment, bool) {
	if a, ok := e.assigned[name]; ok {
		return a, true
	}
	text, ok := e.getenv("TF_VAR_" + name)
	return assignment{text: text, origin: "TF_VAR_" + name}, ok
}

// assign reads the files and flags that set variables, the first first.
func (e *evaluator) assign() error {
	e.assigned = map[string]assignment{}
	var errs []error
	for _, name := range e.automatic() {
		errs = append(errs, e.assignFile(name))
	}
	for _, f := range e.flags() {
		switch f.name {
		case "var":
			errs = append(errs, e.assignPair(f.value, f.from))
		case "var-file":
			errs = append(errs, e.assignFile(f.value))
		}
	}
	for _, name := range e.opts.VarFiles {
		errs = append(errs, e.assignFile(name))
	}
	for _, name := range slices.Sorted(maps.Keys(e.opts.Vars)) {
		errs = append(errs, e.assignPair(name+"="+e.opts.Vars[name], ""))
	}
	return errors.Join(errs...)
}

// automatic returns the names of the files that are read without being named.
func (e *evaluator) automatic() []string {
	var names []string
	for _, name := range []string{"terraform.tfvars", "terraform.tfvars.json"} {
		if _, err := os.Lstat(e.abs(name)); err == nil {
			names = append(names, name)
		}
	}
	entries, _ := os.ReadDir(e.dir) // it was read before
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json") {
			names = append(names, name)
		}
	}
	return names
}

func (e *evaluator) assignFile(name string) error {
	path := e.abs(name)
	file, err := e.parse(path, FromFile)
	if err != nil {
		return err
	}
	at := e.in(path, FromFile)
	attrs, err := attributes(file.Body, at)
	if err != nil {
		return err
	}
	for name, attr := range attrs {
		e.assigned[name] = assignment{expr: attr.Expr, origin: at.at(attr.NameRange).String()}
	}
	return nil
}

// assignPair takes the NAME=VALUE of a -var flag.
func (e *evaluator) assignPair(pair, from string) error {
	name, text, ok := strings.Cut(pair, "=")
	origin := "-var " + name
	if from != "" {
		origin += " in " + from
	}
	if !ok {
		return fmt.Errorf("-var takes NAME=VALUE")
	}
	if e.variables[name] == nil {
		return fmt.Errorf("%s: there is no variable of that name; declare it or correct the flag", origin)
	}
	e.assigned[name] = assignment{text: text, origin: origin}
	return nil
}
