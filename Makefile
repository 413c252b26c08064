# The targets of statelatch. `make` alone lists them. `make test` needs Go 1.26, a C compiler,
# Node.js with npm and, for the tests beside the real program, terraform; `make prerequisites`
# says what is missing. Everything else is fetched as Go modules and npm packages.

# A number of runs: fuzzing that ends by the clock fails now and then (go.dev/issue/75804).
FUZZTIME    ?= 10000x
TESTTIMEOUT ?= 15m

SYSTEMS := linux darwin windows freebsd

.PHONY: help check fmt vet lint tidy vuln floors test prerequisites services fuzz bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: fmt tidy floors vet lint vuln ## everything that is checked without running the code

fmt: ## fail on files that gofmt -s would change
	@files=$$(gofmt -s -l .) && if [ -n "$$files" ]; then echo "gofmt -s -w these:"; echo "$$files"; exit 1; fi

vet: ## build and vet for every system that we support, test files included
	@set -e; for os in $(SYSTEMS); do echo "vet for $$os"; GOOS=$$os go build ./...; GOOS=$$os go vet ./...; done
	@go -C internal/tools vet ./...

lint: ## run golangci-lint for each of them; .golangci.yml says which linters, and why
	@set -e; lint=$$(go tool -n -modfile=internal/tools/go.mod golangci-lint); \
	for os in $(SYSTEMS); do echo "lint for $$os"; GOOS=$$os $$lint run ./...; done

tidy: ## fail if go.mod or go.sum is not tidy
	@go mod tidy -diff
	@go -C internal/tools mod tidy -diff

vuln: ## fail if a known vulnerability of a dependency can be reached
	@go -C internal/tools run ./vulncheck -C ../..

floors: ## fail if a package links what it must not (internal/deptest)
	@go test ./internal/deptest/...

test: services ## every test, race detector on, beside real servers
	go test -race -shuffle=on -timeout $(TESTTIMEOUT) ./...

prerequisites: ## name what `make test` needs and this machine lacks
	@sh internal/tools/prerequisites.sh

services: prerequisites ## build the test servers that are not built yet
	go run ./internal/services/build

fuzz: ## run each fuzz target for FUZZTIME (10000x; or a time, as 1m)
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sed 's|/[^/]*$$||' | sort -u); do \
		list=$$(go test -list '^Fuzz' $$dir); \
		for target in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

bench: ## run the benchmarks once
	go test -run '^$$' -bench . -benchmem ./...
