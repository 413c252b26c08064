package tfconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
)

// Limits of what is read. Configuration that people or generators write is far from
// them; the depth keeps the parser's recursion away from the end of the stack.
const (
	maxFile  = 8 << 20
	maxDepth = 2000
)

// extensions are those of configuration files, each with the one whose file goes
// before one of the same name.
var extensions = []struct{ tofu, tf string }{{".tofu.json", ".tf.json"}, {".tofu", ".tf"}}

// configFiles returns the names of the configuration files, and of the override
// files, in the order in which they count.
func (l *loader) configFiles() (primary, override []string, err error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, nil, unreadable(Origin{File: l.dir}, err)
	}
	all := map[string]bool{}
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && !ignored(name) {
			all[name] = true
		}
	}
	for _, e := range entries { // in the order of their names
		name := e.Name()
		base, ok := l.configName(name, all)
		switch {
		case base != "" && !ok && all[name]:
			l.shadowed = name
		case !ok || !all[name]:
		case base == "override" || strings.HasSuffix(base, "_override"):
			override = append(override, name)
		default:
			primary = append(primary, name)
		}
	}
	return primary, override, nil
}

// configName returns the name without its extension, if the program reads such files;
// ok is false if it reads another in place of this one.
func (l *loader) configName(name string, all map[string]bool) (base string, ok bool) {
	for _, ext := range extensions {
		if base, ok := strings.CutSuffix(name, ext.tf); ok {
			return base, l.opts.Program == Terraform || !all[base+ext.tofu]
		}
		if base, ok := strings.CutSuffix(name, ext.tofu); ok && l.opts.Program == OpenTofu {
			return base, true
		}
	}
	return "", false
}

// ignored reports whether a file is hidden, or an editor's.
func ignored(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#")
}

// read returns the contents of a regular file. The error of a missing one matches
// fs.ErrNotExist.
func (l *loader) read(path string, kind Kind) ([]byte, error) {
	at := l.in(path, kind)
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(at, err)
	}
	if !info.Mode().IsRegular() { // reading a pipe would wait for its writer
		return nil, invalid(at, "it is no file but a %s; remove it or name another", describe(info.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(at, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, unreadable(at, err)
	}
	if len(data) > maxFile {
		return nil, invalid(at, "it is larger than %d MiB, which no configuration is; split it or move it away", maxFile>>20)
	}
	return data, nil
}

func describe(mode fs.FileMode) string {
	if mode.IsDir() {
		return "directory"
	}
	return "device, pipe or socket"
}

// unreadable is the error of a file system operation. The path is in the Origin.
func unreadable(at Origin, err error) error {
	remedy := "check what it is and who may read it"
	if errors.Is(err, fs.ErrNotExist) {
		remedy = "check the name"
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return &Error{at, fmt.Errorf("it cannot be read: %w; %s", err, remedy)}
}

// parse parses a file in native or JSON syntax, by its name.
func (l *loader) parse(path string, kind Kind) (*hcl.File, error) {
	src, err := l.read(path, kind)
	if err != nil {
		return nil, err
	}
	return parseSource(src, l.in(path, kind))
}

func parseSource(src []byte, at Origin) (*hcl.File, error) {
	if err := parsable(src, at); err != nil {
		return nil, err
	}
	var file *hcl.File
	var diags hcl.Diagnostics
	if filepath.Ext(at.File) == ".json" {
		file, diags = hcljson.Parse(src, at.File)
	} else if file, diags = hclsyntax.ParseConfig(src, at.File, hcl.InitialPos); diags.HasErrors() {
		if at, open := openComment(src, at); open {
			return nil, invalid(at, "the comment is not closed: it ends with */")
		}
	}
	if diags.HasErrors() {
		return nil, diagnosed(diags, at)
	}
	return file, nil
}

// openComment returns where a comment begins that has no end. The parser takes it for a
// slash and a star, which never follow one another otherwise.
func openComment(src []byte, at Origin) (Origin, bool) {
	slash := hcl.Range{}
	tokens, _ := hclsyntax.LexConfig(src, "", hcl.InitialPos)
	for _, t := range tokens {
		if t.Type == hclsyntax.TokenStar && t.Range.Start == slash.End {
			return at.at(slash), true
		}
		if slash = (hcl.Range{}); t.Type == hclsyntax.TokenSlash {
			slash = t.Range
		}
	}
	return at, false
}

// parsable reports what would confuse the parser, or exhaust its stack.
func parsable(src []byte, at Origin) error {
	if i := bytes.IndexByte(src, 0); i >= 0 {
		return invalid(at, "it is binary, not configuration (there is a zero byte at offset %d); remove it or rename it", i)
	}
	depth := nesting
	if filepath.Ext(at.File) == ".json" {
		depth = nestingJSON
	}
	if depth(src) > maxDepth {
		return invalid(at, "it nests brackets or operators more than %d deep; no configuration does", maxDepth)
	}
	return nil
}

// nesting returns how deep brackets, and what else the parser recurses on, are
// nested, or more. It goes by the parser's own tokens: no text or comment misleads it.
func nesting(src []byte) int {
	tokens, _ := hclsyntax.LexConfig(src, "", hcl.InitialPos) // errors are the parser's to tell
	return depthOf(tokens)
}

func depthOf(tokens hclsyntax.Tokens) (deepest int) {
	depth, signs, choices := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenTemplateInterp:
			depth++
		case hclsyntax.TokenTemplateControl:
			depth++
			choices++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd:
			depth = max(0, depth-1)
		case hclsyntax.TokenBang, hclsyntax.TokenMinus:
			signs++
			deepest = max(deepest, signs)
			continue
		case hclsyntax.TokenNewline, hclsyntax.TokenComment:
			continue
		case hclsyntax.TokenQuestion: // a ? b : c ? d : …
			choices++
		}
		deepest = max(deepest, depth, choices/perLevel)
		signs = 0
	}
	return deepest
}

// perLevel is how many of what may be nested, but mostly is not, count as one level.
const perLevel = 50

// nestingJSON is nesting in JSON, and in each of its texts, which may be a template.
func nestingJSON(src []byte) (deepest int) {
	depth := 0
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '"':
			text := textJSON(src[i+1:])
			deepest = max(deepest, nestingText(text))
			i += len(text) + 1
		}
		deepest = max(deepest, depth)
	}
	return deepest
}

// textJSON returns what src has of a text whose quote has been opened, by the parser's
// own rule: a control character ends it too.
func textJSON(src []byte) []byte {
	escaped := false
	for i, c := range src {
		switch {
		case c < ' ', c == '"' && !escaped:
			return src[:i]
		case c == '\\':
			escaped = !escaped
		default:
			escaped = false
		}
	}
	return src
}

// nestingText is nesting in a text in JSON, as it is written there.
func nestingText(text []byte) int {
	var template string
	if json.Unmarshal(slices.Concat([]byte{'"'}, text, []byte{'"'}), &template) != nil {
		return 0 // nor does the parser get to see it
	}
	tokens, _ := hclsyntax.LexTemplate([]byte(template), "", hcl.InitialPos)
	return depthOf(tokens)
}

// diagnosed translates the first error of a parser; those that follow it often
// follow from it.
func diagnosed(diags hcl.Diagnostics, at Origin) error {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			if d.Subject != nil {
				at = at.at(*d.Subject)
			}
			return invalid(at, "%s", described(d))
		}
	}
	return nil
}

// remedies are for errors of the parser whose own text repeats the source.
var remedies = map[string]string{
	"Attribute redefined":                             "remove one of the two",
	"Argument definition required":                    "a block within a block begins on a line of its own",
	"Argument or block definition required":           "a setting is written NAME = VALUE",
	"Extra characters after interpolation expression": "${ is written $${ where a text is to have it",
	"Invalid block definition":                        "a block is written TYPE \"LABEL\" { with the brace on the same line, and without =",
	"Invalid character":                               "texts have straight double quotes around them, and settings are on lines of their own",
	"Invalid escape sequence":                         "a backslash in a text is written twice",
	"Invalid JSON keyword":                            "a text needs double quotes around it",
	"Invalid multi-line string":                       "the double quotes are not closed on the same line",
	"Invalid single-argument block definition":        "a block on one line has one setting, and is closed on that line; write it on several",
	"Invalid type specification":                      "a type is written string, number, bool, list(string), …",
	"Missing key/value separator":                     "within an object, a setting is written NAME = VALUE",
	"Unsupported attribute":                           "the value has no such member",
}

// described returns the text of a diagnostic, but for what may repeat the source,
// which may hold a secret.
func described(d *hcl.Diagnostic) string {
	detail := d.Detail
	if strings.ContainsAny(detail, "\"`'") {
		detail = ""
	}
	if remedy, ok := remedies[d.Summary]; ok {
		detail = remedy
	}
	if detail == "" {
		return d.Summary
	}
	return d.Summary + ": " + strings.TrimSuffix(detail, ".")
}

// at returns the Origin of a range in the same file.
func (o Origin) at(r hcl.Range) Origin {
	o.Line, o.Column = r.Start.Line, r.Start.Column
	return o
}
