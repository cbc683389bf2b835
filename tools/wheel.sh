#!/usr/bin/env bash
# wheel.sh PYTHON GO DIRECTORY ARCHITECTURE...: wheels for Linux on these architectures with the node inside, and one for everywhere
# else with the client only. The node is linked statically, so it runs with glibc and musl of any age.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1 go=$2 directory=$3
shift 3
version=$(sed -n 's/^version = "\(.*\)"/\1/p' python/pyproject.toml)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$directory"

build() { "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$directory" ./python; }

for architecture in "$@"; do
  case $architecture in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) echo "wheel.sh: $architecture: give amd64 or arm64" >&2; exit 2 ;;
  esac
  CGO_ENABLED=0 GOOS=linux GOARCH=$architecture "$go" build -trimpath -ldflags "-s -w -X main.version=$version" \
    -o "$work/$architecture/cloudburst" ./cmd/cloudburst
  CLOUDBURST_NODE=$work/$architecture/cloudburst \
    CLOUDBURST_WHEEL_PLATFORM=manylinux2014_$machine.musllinux_1_1_$machine build
done
build
ls -l "$directory"/*.whl
