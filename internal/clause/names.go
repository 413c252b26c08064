package clause

import "strings"

// ValidNames are odd names that workspaces may have.
var ValidNames = []string{
	"default", "a", "A", "0", "prod.eu-west_1", "...", ".hidden", "trailing.", "-", "~", "_",
	"$&+:=@~.-_", "a+b", "a&b=c", "user@host:22", "env:", "env:prod", "terraform.tfstate", "tfstate.lock",
	"CON", "nul.txt", strings.Repeat("n", 200),
}

// InvalidNames are names that no workspace may have.
var InvalidNames = []string{
	"", ".", "..", "a b", " ", "a/b", "/", "../a", "a\\b", "a%b", "%2e%2e", "a#b", "a?b", "a*b", "a\"b", "a'b", "a|b", "a<b",
	"a,b", "a;b", "a!b", "(a)", "[a]", "{a}", "a^b", "a`b", "a\x00b", "a\nb", "a\tb", "\x7f", "é", "世界", "a\xffb", "\u202e",
	strings.Repeat("n", 201), strings.Repeat("é", 100),
}
