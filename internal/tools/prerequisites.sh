#!/bin/sh
# Names what `make test` needs and this machine lacks, before anything is built.
set -u
missing=0

lack() { # what, why, how to get it
	echo "missing: $1 ($2)" >&2
	echo "    $3" >&2
	missing=1
}

minor=$(go env GOVERSION 2>/dev/null | sed -n 's/.*go1\.\([0-9]*\).*/\1/p')
if [ "${minor:-0}" -lt 26 ]; then
	lack "Go 1.26 or newer" "found: $(go version 2>/dev/null || echo none)" "https://go.dev/dl/"
fi

cc=$(go env CC 2>/dev/null)
if ! echo '#include <stdlib.h>' | ${cc:-cc} -x c -fsyntax-only - >/dev/null 2>&1; then
	lack "a C compiler with its headers" "'go test -race' links C code; tried: ${cc:-cc}" \
		"Debian and Ubuntu: apt-get install gcc libc6-dev. macOS: xcode-select --install"
fi

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
	lack "Node.js with npm" "some of the test servers are npm packages" \
		"version 20 or newer: https://nodejs.org, or the system's packages nodejs and npm"
fi

if ! command -v terraform >/dev/null 2>&1; then
	if [ "${CI:-}" = true ]; then
		lack "terraform" "with CI=true the tests beside the real program are not skipped" \
			"https://developer.hashicorp.com/terraform/install"
	else
		echo "note: no terraform on PATH: the tests beside the real program will be skipped." >&2
		echo "    https://developer.hashicorp.com/terraform/install" >&2
	fi
fi

exit $missing
