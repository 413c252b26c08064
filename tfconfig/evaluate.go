package tfconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// A setting is one value of a configuration.
type setting struct {
	value  any  // nil, a string, []any or map[string]any of these
	raw    bool // the text of a pair, whose type only the driver knows
	origin Origin
	nested map[string]Origin // of what is within the value; dots lead into it
	err    error             // why value is not known
}

// A sensitive value must not get into a backend's configuration.
type sensitive string // the variable

// An evaluator knows what can be known without running anything.
type evaluator struct {
	*loader
	*module
	assigned map[string]assignment // nil until they are needed
	known    map[string]known      // by "var.x" or "local.x"
	busy     []string              // locals that are being evaluated
}

// A known value, or why it is not.
type known struct {
	value cty.Value
	size  int
	via   []string // what variables it was made of
	err   error
}

// setting evaluates one attribute of a block or a file.
func (e *evaluator) setting(attr *hcl.Attribute, at Origin) setting {
	s := setting{origin: at.at(attr.NameRange), nested: map[string]Origin{}}
	k := e.evaluate(attr.Expr)
	if len(k.via) > 0 {
		s.origin.Via = strings.Join(k.via, ", ")
	}
	if k.err == nil {
		s.value, k.err = plain(k.value)
	}
	if k.err != nil {
		s.err = &Error{s.origin, fmt.Errorf("setting %q: %w", attr.Name, k.err)}
		return s
	}
	locate(attr.Expr, s.origin, "", s.nested)
	return s
}

// locate notes where the values within an object stand.
func locate(expr hcl.Expression, at Origin, prefix string, into map[string]Origin) {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		return
	}
	for _, pair := range pairs {
		key, diags := pair.Key.Value(nil)
		if diags.HasErrors() || !key.IsKnown() || key.IsNull() || key.IsMarked() || key.Type() != cty.String {
			continue
		}
		name := prefix + key.AsString()
		into[name] = at.at(pair.Key.Range())
		locate(pair.Value, at, name+".", into)
	}
}

// evaluate returns the value of an expression.
func (e *evaluator) evaluate(expr hcl.Expression) known {
	if err := bounded(expr, 0); err != nil {
		return known{err: err}
	}
	_, native := expr.(hclsyntax.Expression)
	var k known
	var ctx *hcl.EvalContext // without one, a string in JSON is no template
	if e.opts.Program == OpenTofu || native {
		ctx, k.via, k.err = e.context(expr)
	}
	if k.err != nil {
		return k
	}
	value, diags := expr.Value(ctx)
	if diags.HasErrors() {
		k.err = evaluation(diags)
		return k
	}
	var n int
	if n, k.err = size(value); n > maxExpression {
		k.err = fmt.Errorf("the value is larger than %d KiB", maxExpression>>10)
	}
	k.value = value
	return k
}

// evaluation translates the first error of an evaluation; the place is known.
func evaluation(diags hcl.Diagnostics) error {
	for _, d := range diags {
		switch {
		case d.Severity != hcl.DiagError:
		case d.Summary == "Function calls not allowed":
			return errors.New("function calls are not evaluated here; write what it gives, or pass it with -backend-config")
		default:
			return errors.New(described(d))
		}
	}
	return diags
}

// context returns the values that an expression refers to.
func (e *evaluator) context(expr hcl.Expression) (*hcl.EvalContext, []string, error) {
	roots := map[string]map[string]cty.Value{}
	var via []string
	values := 0
	for _, t := range expr.Variables() {
		root, name := reference(t)
		k := e.lookup(root, name)
		if k.err != nil {
			return nil, nil, k.err
		}
		if roots[root] == nil {
			roots[root] = map[string]cty.Value{}
		}
		roots[root][name] = k.value
		via = append(via, k.via...)
		values += k.size
	}
	if err := bounded(expr, values); err != nil {
		return nil, nil, err
	}
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{}}
	for root, values := range roots {
		ctx.Variables[root] = cty.ObjectVal(values)
	}
	slices.Sort(via)
	return ctx, slices.Compact(via), nil
}

// reference returns the first two parts of a name.
func reference(t hcl.Traversal) (root, name string) {
	if len(t) > 1 {
		if attr, ok := t[1].(hcl.TraverseAttr); ok {
			return t.RootName(), attr.Name
		}
	}
	return t.RootName(), ""
}

// lookup returns what a name stands for.
func (e *evaluator) lookup(root, name string) known {
	full := root + "." + name
	switch {
	case name == "" || !slices.Contains([]string{"var", "local", "path", "terraform", "tofu"}, root):
		// The name may be a value without its quotes, so it is not repeated.
		return known{err: errors.New("a backend can only refer to variables (var.NAME) and locals (local.NAME); a text needs double quotes around it")}
	case e.opts.Program == Terraform:
		return known{err: fmt.Errorf("a backend block takes no reference (%s) in Terraform; write the value, or pass it with -backend-config", full)}
	case full == "path.module" || full == "path.root":
		return known{value: cty.StringVal(".")}
	case full == "path.cwd":
		return known{value: cty.StringVal(e.dir)}
	case full == "terraform.workspace" || full == "tofu.workspace":
		return known{value: cty.StringVal(e.workspace)}
	case root != "var" && root != "local":
		return known{err: fmt.Errorf("%s is not known here; a backend can only refer to variables and locals", full)}
	}
	if k, ok := e.known[full]; ok {
		return k
	}
	var k known
	if root == "var" {
		k = e.variable(name)
	} else {
		k = e.local(name)
	}
	if k.err == nil {
		k.size, k.err = size(k.value)
	}
	e.known[full] = k
	return k
}

// local evaluates a local value.
func (e *evaluator) local(name string) known {
	l := e.locals[name]
	if l == nil {
		return known{err: fmt.Errorf("there is no local.%s; define it in a locals block", name)}
	}
	if slices.Contains(e.busy, name) {
		return known{err: fmt.Errorf("local.%s refers to itself (%s)", name, strings.Join(append(e.busy, name), ", "))}
	}
	if len(e.busy) == maxLocals {
		return known{err: fmt.Errorf("locals refer to one another more than %d deep; write the value", maxLocals)}
	}
	e.busy = append(e.busy, name)
	k := e.evaluate(l.expr)
	e.busy = e.busy[:len(e.busy)-1]
	if _, ok := errors.AsType[*Error](k.err); k.err != nil && !ok { // the innermost is the one to look at
		k.err = invalid(l.origin, "local.%s: %w", name, k.err)
	}
	return k
}

// plain turns a value into one of those that a setting has. Numbers and booleans are
// written as Terraform converts them to strings.
func plain(value cty.Value) (any, error) {
	if value.ContainsMarked() {
		return nil, refuse(value)
	}
	t := value.Type()
	switch {
	case !value.IsKnown():
		return nil, errors.New("the value is not known before init")
	case value.IsNull():
		return nil, nil
	case t == cty.Number && huge(value):
		return nil, errHuge
	case t.IsPrimitiveType():
		text, err := convert.Convert(value, cty.String)
		if err != nil {
			return nil, err
		}
		return text.AsString(), nil
	case t.IsMapType() || t.IsObjectType():
		m := map[string]any{}
		for key, v := range value.AsValueMap() {
			item, err := plain(v)
			if err != nil {
				return nil, err
			}
			m[key] = item
		}
		return m, nil
	case t.IsListType() || t.IsSetType() || t.IsTupleType():
		list := []any{}
		for _, v := range value.AsValueSlice() {
			item, err := plain(v)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	}
	return nil, errors.New("it has a type that no setting has")
}

// refuse names the sensitive variables that a value was made of.
func refuse(value cty.Value) error {
	var names []string
	_, marks := value.UnmarkDeep()
	for mark := range marks {
		if name, ok := mark.(sensitive); ok {
			names = append(names, "var."+string(name))
		}
	}
	slices.Sort(names)
	return fmt.Errorf("%s is sensitive or ephemeral, and init would record it in clear; use a variable of the environment that the backend reads", strings.Join(names, ", "))
}
