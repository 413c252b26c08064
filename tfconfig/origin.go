package tfconfig

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A Kind is a kind of place that a setting can come from.
type Kind string

// The places, the later ones asked first, but for a record and a block: a Config is
// made of one or the other.
const (
	FromDefault     Kind = "default"        // nothing sets it
	FromEnvironment Kind = "environment"    // a variable of the driver; Name says which
	FromRecord      Kind = "record"         // what init left in the data directory
	FromBlock       Kind = "block"          // the backend block
	FromFile        Kind = "file"           // a file of -backend-config
	FromOption      Kind = "backend-config" // a NAME=VALUE of -backend-config
)

// An Origin says where a value comes from. The zero Origin is an unknown one.
type Origin struct {
	Kind         Kind
	Name         string // of the environment variable, or of the setting of an option
	File         string // relative to the directory if it is within it
	Line, Column int    // from 1; 0 where there is none
	Via          string // what was known to evaluate it: "var.env of prod.tfvars:1:1"
}

// String returns the Origin in the form in which messages begin with it:
// "main.tf:3:5", "environment variable AWS_REGION".
func (o Origin) String() string {
	var s string
	switch {
	case o.File != "":
		s = o.File
		if o.Line > 0 {
			s = fmt.Sprintf("%s:%d:%d", s, o.Line, o.Column)
		}
	case o.Kind == FromEnvironment:
		s = "environment variable " + o.Name
	case o.Kind == FromOption:
		s = "-backend-config " + o.Name + "=…"
	default:
		s = string(o.Kind)
	}
	if o.Via != "" {
		s += " (" + o.Via + ")"
	}
	return s
}

// relative returns path as seen from dir, if it is in it.
func relative(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return path
	}
	return filepath.ToSlash(rel)
}
