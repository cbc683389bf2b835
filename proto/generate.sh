#!/usr/bin/env bash
# Generates wire/pb and python/src/cloudburst/v1 from proto/. Fetches its own tools, pinned, into .tools/ when they are not
# there: protoc inside grpcio-tools, at the version whose Python code runs on protobuf 5.29 and later, and the Go plugin of
# tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/.tools
grpcio_tools=1.71.0
protoc=("$tools/py/bin/python" -m grpc_tools.protoc)

if [ "$("$tools/py/bin/python" -c 'from importlib.metadata import version; print(version("grpcio-tools"))' 2>&1)" != "$grpcio_tools" ]; then
  "${PYTHON:-python3}" -m venv --clear "$tools/py"
  "$tools/py/bin/python" -m pip install --quiet --disable-pip-version-check "grpcio-tools==$grpcio_tools"
fi
(cd tools && "${GO:-go}" build -o "$tools/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go)

(
  cd proto
  "${protoc[@]}" --plugin=protoc-gen-go="$tools/protoc-gen-go" --proto_path=. \
    --go_out=.. --go_opt=module=cloudburst --python_out=../python/src --pyi_out=../python/src cloudburst/v1/*.proto
)
