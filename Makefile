# Everything a fresh clone needs is fetched by these targets, as an ordinary user, into .tools/ and .venv/.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
GO ?= go
LISTEN ?= 127.0.0.1:7100
DATA ?= .work/data
FUZZTIME ?= 30s
WHEEL_ARCHITECTURES ?= amd64 arm64
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

TOOLS := $(CURDIR)/.tools
VENV := .venv
PY := $(VENV)/bin/python
SDK := $(VENV)/.sdk
BINARY := bin/cloudburst
RUFF := $(VENV)/bin/ruff

export PATH := $(TOOLS):$(CURDIR)/$(VENV)/bin:$(PATH)

##@ Use
build: $(SDK) ## bin/cloudburst, and .venv with the Python SDK
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BINARY) ./cmd/cloudburst

wheel: $(SDK) ## dist/: Python wheels for Linux with the node inside, for WHEEL_ARCHITECTURES, and one with the client only
	tools/wheel.sh $(CURDIR)/$(PY) $(GO) dist $(WHEEL_ARCHITECTURES)

serve: build ## a node on DATA (.work/data), listening on LISTEN (127.0.0.1:7100)
	@mkdir -p $(DATA)
	$(BINARY) serve --data $(DATA) --listen $(LISTEN) --python $(CURDIR)/$(PY)

demo: build ## compose functions, keep state, survive failures: in one minute, with the latencies
	@$(PY) examples/demo.py --binary $(BINARY)

##@ Check
test: lint generate-check race py-test e2e ## everything that CI checks

lint: house go-lint py-lint ## format, static analysis and house rules

house: $(SDK)
	$(PY) -m pytest -q tools/test_house.py

go-lint: $(TOOLS)/golangci-lint
	@$(GO) mod tidy -diff || { echo "go.mod or go.sum is not tidy: run go mod tidy, and commit what it changes"; exit 1; }
	$(TOOLS)/golangci-lint run

py-lint: $(SDK)
	$(RUFF) format --check
	$(RUFF) check
	cd python && ../$(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file python/pyproject.toml -p e2e -p bench -p examples

fmt: $(SDK) $(TOOLS)/golangci-lint ## format all code
	$(TOOLS)/golangci-lint fmt
	$(RUFF) check --fix
	$(RUFF) format

unit: $(SDK) ## Go tests, without the race detector
	$(GO) test ./...

race: $(SDK) ## Go tests, with the race detector
	$(GO) test -race -timeout 15m ./...

py-test: $(SDK) ## tests of the Python SDK
	cd python && ../$(PY) -m pytest -q

e2e: build $(TOOLS)/nats-server ## tests of the real binary with the real SDK
	$(PY) -m pytest -q e2e

soak: build ## every fuzz target for FUZZTIME (30s), long simulations, and tests of the real binary that take minutes
	tools/soak.sh $(FUZZTIME)
	$(PY) -m pytest -q -m slow e2e

##@ Measure
bench: build $(TOOLS)/nats-server ## calls, calls inside calls, also with Ray and Dask, the store, its multicast: bench/results/ gets JSON and SVG
	$(GO) build -trimpath -o bin/forwarder ./bench/forwarder
	$(GO) build -trimpath -o bin/multicast ./bench/multicast
	$(PY) -m bench --binary $(BINARY) --forwarder bin/forwarder
	$(PY) -m bench.nested --binary $(BINARY)
	$(PY) -m bench.peers --binary $(BINARY)
	$(PY) -m bench.store --binary $(BINARY) --rounds 3 --only gets merges puts
	$(PY) -m bench.multicast --binary $(BINARY) --rounds 1 --nodes 3

##@ Generate
generate: $(SDK) ## code from proto/
	proto/generate.sh

generate-check: $(SDK) ## fails when the generated code is not that of proto/
	@before=$$(tools/generated.sh); proto/generate.sh; \
	[ "$$before" = "$$(tools/generated.sh)" ] || \
	{ echo "the generated code was not that of proto/; it is now: commit it"; exit 1; }

##@ House
clean: ## remove what was built and installed
	rm -rf bin dist .tools .venv .work bench/results python/build
	find python e2e bench examples tools -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# What the machine itself must have.
.PHONY: system
system:
	@tools/system.sh "$(GO)" "$(PYTHON)"

$(SDK): python/pyproject.toml tools/system.sh | system
	@echo "installing the Python SDK into $(VENV)"
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable 'python[dev]'
	@touch $@

# The tools are pinned in tools/go.mod, apart from the product's own dependencies.
$(TOOLS)/golangci-lint: tools/go.mod | system
	@mkdir -p $(@D)
	cd tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The server that the tests of --nats-url start is the one that the binary embeds.
$(TOOLS)/nats-server: go.mod | system
	@mkdir -p $(@D)
	$(GO) build -o $@ github.com/nats-io/nats-server/v2

.PHONY: build wheel serve demo test lint house go-lint py-lint fmt unit race py-test e2e soak bench generate generate-check clean help
