package statefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// An Output is an output value of the root module.
//
// An Output that is sensitive does not show its value when it is printed with
// any verb of package fmt, logged with log/slog, or encoded as JSON: it shows
// "(sensitive)" instead. Whoever means to have the value takes the Value field.
type Output struct {
	// Value is the value as it stands in the state, decoded by nobody. A number
	// may have more digits than a float64. nil if there is none.
	Value json.RawMessage `json:"value"`

	// Type describes the type of the value, such as "string" or
	// ["list","number"] with the quotes. nil if there is none.
	Type json.RawMessage `json:"type,omitempty"`

	// Sensitive says that the value is to be shown to nobody unasked.
	Sensitive bool `json:"sensitive,omitempty"`

	// Deprecated is the reason not to use the output any more. OpenTofu alone
	// writes one.
	Deprecated string `json:"deprecated,omitempty"`
}

// Outputs returns the outputs of a state by name: none, but not nil, if it has
// none. They are copies, which the caller may change. The error is [ErrEncrypted]
// if the outputs cannot be seen, else one of those of [ReadHeader], or a
// *[SyntaxError] if the outputs are not of the shape of outputs.
func Outputs(data []byte) (map[string]Output, error) {
	d, h, err := parse(data)
	if err != nil {
		return nil, err
	}
	if h.Encrypted {
		return nil, ErrEncrypted
	}
	found := map[string]Output{}
	raw := d.raw(outputs)
	if raw == nil {
		return found, nil
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, d.misshapen(err)
	}
	return found, nil
}

// misshapen says where outputs have the wrong type. It leaves out the error's
// own text, which has numbers of the document in it.
func (d *document) misshapen(err error) error {
	e := &SyntaxError{Offset: int64(d.values[outputs].start), Msg: "outputs are not an object of objects"}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.Offset += mismatch.Offset
		if mismatch.Field != "" {
			e.Msg = fmt.Sprintf("%s of an output must be a %s", mismatch.Field, mismatch.Type)
		}
	}
	return e
}

const redacted = "(sensitive)"

// String returns the value as JSON, or "(sensitive)".
func (o Output) String() string {
	if o.Sensitive {
		return redacted
	}
	return string(o.Value)
}

// Format prints what String returns, whatever the verb.
func (o Output) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// LogValue logs what String returns.
func (o Output) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalJSON encodes the output as a state has it, but for a sensitive value,
// in whose place is "(sensitive)".
func (o Output) MarshalJSON() ([]byte, error) {
	type plain Output // without this method
	if o.Sensitive {
		o.Value = json.RawMessage(`"` + redacted + `"`)
	}
	return json.Marshal(plain(o))
}
