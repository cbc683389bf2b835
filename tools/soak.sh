#!/usr/bin/env bash
# Looks for what the tests are too short to find: every fuzz target for the given time, then every law on many more cases, and
# many more seeds of the simulation of the store.
set -euo pipefail
time=${1:-30s} checks=${2:-20000} seeds=${3:-200000}

tested() { # the packages whose tests import the given one; all that have tests without one
  go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}{{end}}' ./... |
    grep -E " ${1:-.*}( |\$)" | cut -d ' ' -f 1
}

for package in $(tested); do
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    echo "== $package $target, $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
  done
done
for package in $(tested pgregory.net/rapid); do
  echo "== $package, laws on $checks cases each"
  go test -count=1 -timeout 4h "$package" -rapid.checks="$checks"
done
echo "== the simulation of the store, $seeds seeds"
go test -count=1 -timeout 4h ./anna/simulation -seeds "$seeds"
