#!/usr/bin/env bash
# Prints one digest of all generated code, so that a change of it can be seen.
set -euo pipefail
git ls-files -co --exclude-standard -- '*.pb.go' '*_pb2.py' '*_pb2.pyi' | LC_ALL=C sort -u | while read -r file; do
  [ ! -f "$file" ] || sha256sum "$file"
done | sha256sum
