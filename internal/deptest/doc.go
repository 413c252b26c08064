// Package deptest holds the floors of this module: tests that read what each
// package imports, and how its files are made, and fail where a rule is broken.
//
// The rules are the tables in its test files, one row for each, with the reason.
// They speak of packages that may not exist yet.
package deptest
