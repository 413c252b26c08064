package tfconfig

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Bounds of what is evaluated, so that no configuration exhausts memory or stack.
const (
	maxExpression = 64 << 10 // bytes of source, and of the texts in a value
	maxWork       = 64 << 20 // steps of the loops in an expression, and bytes of what it is made of
	maxLocals     = 100      // that refer to one another
	maxNumber     = 400      // bits before the point: as a text, 1e999999999 has a digit for each zero
)

var errHuge = errors.New("the number is too large; no setting takes one of more than 100 digits")

// bounded reports an expression that would take too long to evaluate. The values that
// it refers to have that size.
func bounded(expr hcl.Expression, values int) error {
	r := expr.Range()
	length := r.End.Byte - r.Start.Byte
	if length > maxExpression {
		return fmt.Errorf("the expression is longer than %d KiB; write what it gives", maxExpression>>10)
	}
	for _, native := range natives(expr) {
		if err := boundedNumbers(native); err != nil {
			return err
		}
		all := int64(length) + int64(values)
		work := all
		for range loops(native) { // each may go through all that there is
			work = min(work, maxWork) * all
		}
		if work > maxWork {
			return errors.New("the expression goes through too much; write what it gives")
		}
	}
	return nil
}

// natives returns the expression; of one in JSON, the texts that may be templates.
func natives(expr hcl.Expression) (all []hclsyntax.Expression) {
	if native, ok := expr.(hclsyntax.Expression); ok {
		return []hclsyntax.Expression{native}
	}
	add := func(text string) {
		if template, diags := hclsyntax.ParseTemplate([]byte(text), "", hcl.InitialPos); !diags.HasErrors() {
			all = append(all, template)
		}
	}
	literal, _ := expr.Value(nil)
	_ = cty.Walk(literal, func(_ cty.Path, v cty.Value) (bool, error) {
		switch t := v.Type(); {
		case t.IsObjectType():
			for name := range t.AttributeTypes() {
				add(name)
			}
		case t == cty.String && v.IsKnown() && !v.IsNull():
			add(v.AsString())
		}
		return true, nil
	})
	return all
}

// loops returns how deep the loops of an expression are nested.
func loops(expr hclsyntax.Expression) int {
	var w loopWalker
	_ = hclsyntax.Walk(expr, &w)
	return w.deepest
}

type loopWalker struct{ depth, deepest int }

func (w *loopWalker) Enter(node hclsyntax.Node) hcl.Diagnostics {
	if isLoop(node) {
		w.depth++
		w.deepest = max(w.deepest, w.depth)
	}
	return nil
}

func (w *loopWalker) Exit(node hclsyntax.Node) hcl.Diagnostics {
	if isLoop(node) {
		w.depth--
	}
	return nil
}

func isLoop(node hclsyntax.Node) bool {
	switch node.(type) {
	case *hclsyntax.ForExpr, *hclsyntax.SplatExpr:
		return true
	}
	return false
}

func boundedNumbers(expr hclsyntax.Expression) (err error) {
	_ = hclsyntax.VisitAll(expr, func(node hclsyntax.Node) hcl.Diagnostics {
		if literal, ok := node.(*hclsyntax.LiteralValueExpr); ok && huge(literal.Val) {
			err = errHuge
		}
		return nil
	})
	return err
}

// huge reports whether a value is a number that is too large.
func huge(value cty.Value) bool {
	if value.Type() != cty.Number || !value.IsKnown() || value.IsNull() {
		return false
	}
	exponent := value.AsBigFloat().MantExp(nil)
	return exponent > maxNumber || exponent < -maxNumber
}

// size returns how much text is in a value, and errHuge if there is such a number.
func size(value cty.Value) (n int, err error) {
	_ = cty.Walk(value, func(_ cty.Path, v cty.Value) (bool, error) {
		n++
		v, _ = v.Unmark()
		switch {
		case huge(v):
			err = errHuge
		case v.Type() == cty.String && v.IsKnown() && !v.IsNull():
			n += len(v.AsString())
		}
		return true, nil
	})
	return n, err
}
