#!/usr/bin/env bash
# Runs every fuzz target of the product for the given time, one after another, and then the long simulations.
set -euo pipefail
time=${1:-30s}
go list -f '{{if .TestGoFiles}}{{.ImportPath}}{{else if .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r package; do
  go test -list '^Fuzz' "$package" | { grep '^Fuzz' || true; } | while read -r target; do
    echo "== $package $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
  done
done
