#!/usr/bin/env bash
# Says in one sentence what this machine lacks: Go, Python with venv and git come from the system, all else is fetched.
set -euo pipefail
go=$1 python=$2

lack() {
  echo "cloudburst needs $1" >&2
  exit 1
}

command -v git >/dev/null || lack "git, which is not on the PATH."

command -v "$go" >/dev/null || lack "Go, and '$go' is not on the PATH; name another with make GO=…"
wanted=$(sed -n 's/^go \([0-9.]*\).*/\1/p' go.mod)
have=$("$go" env GOVERSION 2>/dev/null || (cd / && "$go" env GOVERSION))
have=${have#go}
[ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] ||
  lack "Go $wanted or newer, and '$go' is $have; name another with make GO=…"

command -v "$python" >/dev/null || lack "Python, and '$python' is not on the PATH; name another with make PYTHON=…"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ||
  lack "Python 3.9 or newer, and '$python' is older; name another with make PYTHON=…"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  lack "Python's venv module, which '$python' lacks; on Debian it is the package python3-venv."
