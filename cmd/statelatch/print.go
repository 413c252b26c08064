package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/mitchellh/go-wordwrap"
	"golang.org/x/term"
)

const width = 80 // columns of what people read

// print prints the result of a command: value, with --json, or else what human
// prints.
func (c *cli) print(value any, human func(w io.Writer) error) error {
	if !c.json {
		return human(c.stdout)
	}
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// say is print for results that people read as a sentence.
func (c *cli) say(value any, format string, args ...any) error {
	return c.print(value, func(w io.Writer) error {
		_, err := io.WriteString(w, wrap(fmt.Sprintf(format, args...)))
		return err
	})
}

// note tells something that is no result, to people alone.
func (c *cli) note(format string, args ...any) {
	if isTerminal(c.stderr) {
		_, _ = io.WriteString(c.stderr, wrap(fmt.Sprintf(format, args...))) // a note can be missed
	}
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// fit cuts a line to the width of the terminal, if it is for one.
func fit(w io.Writer, line string) string {
	file, ok := w.(*os.File)
	if !ok {
		return line
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if runes := []rune(line); err == nil && len(runes) > columns && columns > 1 {
		return string(runes[:columns-1]) + "…"
	}
	return line
}

// wrap breaks text into lines that fit, and ends it with a newline. It strips
// control characters.
func wrap(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = wordwrap.WrapString(printable(line), width)
	}
	return strings.Join(lines, "\n") + "\n"
}

// hang is wrap for text that begins with a name, under which the other lines begin.
func hang(name, text string) string {
	indent := len([]rune(name))
	wrapped := wordwrap.WrapString(printable(text), uint(width-indent))
	return name + strings.ReplaceAll(wrapped, "\n", "\n"+strings.Repeat(" ", indent)) + "\n"
}

// printable drops what could move a terminal's cursor or hide text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case r == '\n' || r == '\t':
			return ' '
		}
		return -1
	}, s)
}

// age says how long ago something was, in the largest unit that fits.
func age(d time.Duration) string {
	for _, unit := range []struct {
		name string
		of   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		switch n := int64(d / unit.of); {
		case n == 1:
			return "1 " + unit.name + " ago"
		case n > 1:
			return fmt.Sprintf("%d %ss ago", n, unit.name)
		}
	}
	return "just now"
}

// plural is "1 thing" or "2 things".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
