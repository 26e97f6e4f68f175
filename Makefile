# Every target brings what it needs: Debian packages, uv, the virtual environment, built tools.
# Built things are cached in $XDG_CACHE_HOME/edge-platform (default ~/.cache/edge-platform).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

PY := .venv/bin/python
EDGE := $(PY) -m edge.embedded
PYTEST := $(PY) -m pytest -q
# Three at a time: tests mostly wait for clusters. A file stays with one worker, and each has API servers of its own.
SHARED := -n 3 --dist loadfile
# Rules and plans wait for nothing but the processor.
PURE := -n 2 --dist loadfile
TOOLS = EDGE_TOOLS="$$($(EDGE) tools | tail -n 1)"

# `make up KUBECONFIG=…` installs on an existing cluster; an exported variable alone does not.
UP_ARGS :=
ifeq ($(origin KUBECONFIG),command line)
UP_ARGS += --kubeconfig "$(KUBECONFIG)" --registry "$(REGISTRY)" $(foreach file,$(VALUES),--values "$(file)")
endif
ifeq ($(origin REGISTRY)-$(filter command,$(origin KUBECONFIG)),command line-)
$(error REGISTRY=… is for an existing cluster: give KUBECONFIG=… as well)
endif
export EDGE_PORT EDGE_PORT_ALT EDGE_PORT_TLS EDGE_INSTANCE

.PHONY: help
help: ## show this
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 18

# ---------------------------------------------------------------- running
.PHONY: up down status logs clean
up: bootstrap ## start the platform (EDGE_PORT=…; or KUBECONFIG=… REGISTRY=… VALUES=… for an existing cluster)
	@$(EDGE) up $(UP_ARGS)

down: venv ## stop it; the data stay
	@$(EDGE) down

status: venv ## what runs, and where
	@$(EDGE) status

logs: venv ## follow the components' logs (COMPONENT=kubelet for one)
	@$(EDGE) logs --follow $(COMPONENT)

clean: venv ## stop it, drop its data and what tools left in the checkout
	@$(EDGE) clean
	@rm -rf .ruff_cache .import_linter_cache .hypothesis dist

# ---------------------------------------------------------------- proving
.PHONY: check test test-unit test-apiserver test-faults test-e2e soak bench
check: venv ## format, lint, types, import directions, generated files
	@.venv/bin/ruff format --check -q .
	@.venv/bin/ruff check -q .
	@.venv/bin/lint-imports
	@.venv/bin/basedpyright
	@$(MAKE) gen-check

test: bootstrap ## everything, in this order; each prints its own closing line
	@$(MAKE) check
	@$(MAKE) test-unit
	@$(MAKE) test-apiserver
	@$(MAKE) test-faults
	@$(MAKE) test-e2e

test-unit: bootstrap ## rules and plans, without a cluster
	@$(TOOLS) $(PYTEST) $(PURE) -m "not soak" tests/unit

test-apiserver: bootstrap ## against a real API server
	@$(TOOLS) $(PYTEST) $(SHARED) -m "not soak" tests/apiserver

test-faults: bootstrap ## restarts, cuts and kills
	@$(TOOLS) $(PYTEST) $(SHARED) -m "not soak" tests/faults

test-e2e: bootstrap ## the whole platform on an instance of its own
	@$(TOOLS) $(PYTEST) -m "not soak" tests/e2e

soak: bootstrap ## long property runs
	@$(TOOLS) $(PYTEST) -m soak --timeout 0 tests

bench: bootstrap ## figures of docs/performance.md (wants a quiet machine)
	@$(TOOLS) $(PY) tests/perf/run.py

# ---------------------------------------------------------------- building
.PHONY: gen gen-check lock images charts tools bootstrap venv packages
gen-check: venv ## fail when a generated file is not what the types say
	@for tool in crdgen rbacgen openapigen docgen; do $(PY) -m tools.$$tool --check; done

lock: venv ## write the hashed requirement lists from requirements/*.in
	@for list in runtime dev uv; do "$$(tools/bootstrap/uv.sh)" pip compile -q --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate requirements/$$list.in -o requirements/$$list.txt; done

gen: venv ## CRDs, the controller's rights, the API document and client, reference pages
	@for tool in crdgen rbacgen openapigen docgen; do $(PY) -m tools.$$tool; done

images: bootstrap ## all images as OCI archives
	@$(EDGE) images

charts: venv ## all charts as packages
	@$(EDGE) charts

tools: bootstrap ## the cluster's executables
	@$(EDGE) tools

bootstrap: packages venv

venv:
	@tools/bootstrap/venv.sh

packages:
	@tools/bootstrap/debian.sh
