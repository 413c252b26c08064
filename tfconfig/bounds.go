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
	maxLocals     = 100      // that refer to one another
	maxNumber     = 400      // bits before the point: as a text, 1e999999999 has a digit for each zero
)

var errHuge = errors.New("the number is too large; no setting takes one of more than 100 digits")

// bounded reports an expression that would take too long to evaluate.
func bounded(expr hcl.Expression) error {
	if r := expr.Range(); r.End.Byte-r.Start.Byte > maxExpression {
		return fmt.Errorf("the expression is longer than %d KiB; write what it gives", maxExpression>>10)
	}
	if native, ok := expr.(hclsyntax.Expression); ok {
		return boundedNumbers(native)
	}
	literal, _ := expr.Value(nil) // JSON: its texts may be templates
	var err error
	_ = cty.Walk(literal, func(_ cty.Path, v cty.Value) (bool, error) {
		if v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			if template, diags := hclsyntax.ParseTemplate([]byte(v.AsString()), "", hcl.InitialPos); !diags.HasErrors() {
				err = errors.Join(err, boundedNumbers(template))
			}
		}
		return err == nil, nil
	})
	return err
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

// size returns how much text is in a value.
func size(value cty.Value) (n int) {
	_ = cty.Walk(value, func(_ cty.Path, v cty.Value) (bool, error) {
		n++
		if v, _ := v.Unmark(); v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			n += len(v.AsString())
		}
		return true, nil
	})
	return n
}
