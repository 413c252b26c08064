package backend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Driver opens the Backends of one service. Each service package has one, in a
// variable of that name; third parties make theirs with [NewDriver].
type Driver interface {
	// Types returns the names that it answers to, as block labels and URL schemes:
	// "azurerm", "azblob".
	Types() []string
	// Open calls decode with a pointer to its own configuration struct, and opens
	// what that then describes. It makes no request that the first operation would
	// not make, except what a setting asks for.
	Open(ctx context.Context, decode func(config any) error) (Backend, error)
}

// NewDriver returns the Driver that opens a Backend from a C: a struct with the
// tags that [Settings.Decode] reads.
func NewDriver[C any](open func(context.Context, C) (Backend, error), types ...string) Driver {
	if len(types) == 0 {
		panic("backend: a driver without a type")
	}
	return driver[C]{open, types}
}

type driver[C any] struct {
	open  func(context.Context, C) (Backend, error)
	types []string
}

func (d driver[C]) Types() []string { return slices.Clone(d.types) }

func (d driver[C]) Open(ctx context.Context, decode func(any) error) (Backend, error) {
	var config C
	if err := decode(&config); err != nil {
		return nil, &Error{Op: "open", Backend: d.types[0], Kind: ErrInvalid, Err: err}
	}
	return d.open(ctx, config)
}

// A Mux opens Backends by type. There is no global one: a program lists the
// drivers that it wants, and links no other.
type Mux struct {
	drivers map[string]Driver
}

// NewMux returns a Mux of the drivers. It panics if two answer to one type.
func NewMux(drivers ...Driver) *Mux {
	m := &Mux{map[string]Driver{}}
	for _, d := range drivers {
		for _, typ := range d.Types() {
			if m.drivers[typ] != nil {
				panic("backend: two drivers answer to type " + typ)
			}
			m.drivers[typ] = d
		}
	}
	return m
}

// Open opens a Backend of type typ with the configuration that decode fills in:
// often the Decode method of [Settings].
func (m *Mux) Open(ctx context.Context, typ string, decode func(config any) error) (Backend, error) {
	d := m.drivers[typ]
	if d == nil {
		return nil, &Error{Op: "open", Kind: ErrInvalid, Err: fmt.Errorf("no driver for backend type %q; there are %s", typ, strings.Join(m.Types(), ", "))}
	}
	return d.Open(ctx, decode)
}

// Types returns the types that can be opened, sorted.
func (m *Mux) Types() []string { return slices.Sorted(maps.Keys(m.drivers)) }
