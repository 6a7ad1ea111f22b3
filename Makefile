# `make run` and `make test` install everything that a fresh machine needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv, configured as pip is; pip where uv cannot be had. `make INSTALLER=pip run` asks for pip.
INSTALLER ?= uv
INSTALL := $(BIN)/python -m deploy.installation $(if $(filter pip,$(INSTALLER)),--pip)

.PHONY: install native run demo test test-fast test-compiled api-test browser axe servers opa gpu check docs sbom audit mutants bench clean image-test kube

# One stamp per set of extras: the command line needs neither pytest nor mypy.
$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Installing Divisions into $(VENV) (first time only; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Divisions needs Python 3.11 or newer. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ rm -rf $(VENV); echo "error: $(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(INSTALL) '.[demo,compile,policy]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing the tools for tests, checks and documents into $(VENV)"
	@$(INSTALL) '.[demo,compile,policy,cluster,kubernetes,test,check,docs]'
	@touch $@

install: $(VENV)/.run

# Compiles the gateway's hot path, once per version of its source. Without a C compiler and Python's headers,
# gateways run the same modules as Python, and a note says so.
native: $(VENV)/.run
	@$(BIN)/python -m deploy.compile_gateway || true

run: $(VENV)/.run native
	@exec $(BIN)/divisions up --foreground --bootstrap

demo: $(VENV)/.run native
	@exec $(BIN)/python -m benchmarks.demo

# Every test with a cluster runs the compiled hot path. The router's own tests run both forms. Two workers: one runs
# clusters, which mostly wait, the other all else (tests/two_ends.py). The few that fail run once more, alone (tests/twice.py).
test: $(VENV)/.dev native browser axe servers opa
	$(BIN)/python tests/twice.py
	@$(MAKE) --no-print-directory test-compiled

# The router's tests that import compiled modules.
COMPILED_TESTS = $$(grep -rlE 'gateway_world|dispatch_world|router\.(http|predict|oip)[. ]|router\.evidence import .*split' --include='test_*.py' tests/router)
test-compiled: $(VENV)/.dev native
	@if $(BIN)/python -c 'from router.gateway import native; raise SystemExit(not native.folder().is_dir())'; then exec $(BIN)/python -m pytest -n 2 --compiled $(COMPILED_TESTS); \
	else echo "note: the compiled hot path is not tested, because it could not be compiled" >&2; fi

# The page is tested in a real browser. Where it is absent and we may not install it, those tests are skipped with a note.
browser:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null && command -v certutil >/dev/null; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "note: without chromium, chromedriver and certutil on the path the page is not tested in a browser, or not with TLS" >&2; exit 0; fi; \
	echo "Installing Chromium and certutil, for the tests of the page"; \
	apt-get -q update && DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends chromium chromium-driver libnss3-tools || \
		echo "note: Chromium could not be installed: the page is not tested in a browser" >&2

# axe-core looks for faults of accessibility in the page. It is kept in the user's cache. Without npm those tests are skipped with a note.
AXE := $(HOME)/.cache/divisions-axe
axe:
	@if [ -e $(AXE)/node_modules/axe-core/axe.min.js ]; then exit 0; fi; \
	if ! command -v npm >/dev/null; then echo "note: without npm the page is not tested with axe-core" >&2; exit 0; fi; \
	timeout 120 npm install --prefix $(AXE) --no-save --no-audit --no-fund --ignore-scripts axe-core@4.14.1 </dev/null || \
		echo "note: axe-core could not be installed: the page is not tested with it" >&2

# A cluster of several hosts is tested with network namespaces, a real Redis, PostgreSQL and OCI registry; metrics, rules and dashboards
# with a real Prometheus. Where they are absent and we may not install them, those tests are skipped with a note. The tests start servers
# of their own, on ports of their own. So Debian must start none: a policy-rc.d that says no is there while we install.
servers:
	@if command -v redis-server >/dev/null && command -v docker-registry >/dev/null && command -v ip >/dev/null && command -v nft >/dev/null && command -v promtool >/dev/null && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "note: without iproute2, nftables, redis-server, postgresql, docker-registry and prometheus, clusters of several hosts and alerts are not tested" >&2; exit 0; fi; \
	echo "Installing Redis, PostgreSQL, an OCI registry, Prometheus, iproute2 and nftables, for the tests of clusters"; \
	policy=/usr/sbin/policy-rc.d; if [ ! -e $$policy ]; then trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; fi; \
	apt-get -q update && DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends iproute2 nftables redis-server postgresql docker-registry prometheus || \
		echo "note: these could not be installed: clusters of several hosts and alerts are not tested" >&2

# Policies are tested against Open Policy Agent's own engine, as a library. Its wheel asks for a newer Python than it needs.
OPA := opa-golib-python-bindings==0.4.4
opa: $(VENV)/.dev
	@works='import opa_bindings; opa_bindings.OpaEngine()'; \
	$(BIN)/python -c "$$works" 2>/dev/null || \
		{ $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --ignore-requires-python $(OPA) && $(BIN)/python -c "$$works" 2>/dev/null; } || \
		echo "note: Open Policy Agent's engine could not be installed and loaded: policies are not compared with it" >&2

# schemathesis with all checks over /openapi.json, in thousands of cases and some minutes. `make test` runs a few hundred.
api-test: $(VENV)/.dev
	$(BIN)/python -m pytest -q --long tests/router/gateway/test_schemathesis.py

# Builds Dockerfile.gpu without a GPU by buildah, pushes it to a registry, runs it, and asks it for predictions. Minutes the first
# time; layers are kept in IMAGE_CACHE, some gigabytes.
IMAGE_CACHE ?= $(HOME)/.cache/divisions-image
image-test: $(VENV)/.dev servers
	@if ! command -v buildah >/dev/null || ! command -v podman >/dev/null || ! command -v runc >/dev/null || ! command -v mmdebstrap >/dev/null; then \
		echo "Installing buildah, podman, runc and mmdebstrap, for the tests of the image"; \
		apt-get -q update && DEBIAN_FRONTEND=noninteractive \
			apt-get -q install -y --no-install-recommends buildah podman runc mmdebstrap; fi
	IMAGE_CACHE=$(IMAGE_CACHE) $(BIN)/python -m pytest --image -m image tests/image

# A real Kubernetes API server for the tests marked `kube`, built from Debian 12's source package: 25 minutes of CPU, once. It is
# kept in KUBE_CACHE; KUBEBUILDER_ASSETS names a folder with one that is there already. What ends in mid-build goes on the next time.
KUBE_CACHE ?= $(HOME)/.cache/divisions-kube/1.20.2
kube:
	@server="$${KUBEBUILDER_ASSETS:-$(KUBE_CACHE)}"; install="apt-get -q install -y --no-install-recommends"; \
	export DEBIAN_FRONTEND=noninteractive; set -e; \
	has_etcd() { [ -x "$$server/etcd" ] || command -v etcd >/dev/null; }; \
	if [ -x "$$server/kube-apiserver" ] && has_etcd; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "error: kube-apiserver and etcd are made as root on Debian 12 only. Else set KUBEBUILDER_ASSETS to a folder that has them" >&2; exit 1; fi; \
	echo "Installing what a Kubernetes API server needs"; \
	apt-get -q update; has_etcd || $$install etcd-server; \
	if [ ! -x "$$server/kube-apiserver" ]; then $$install golang-1.19-go dpkg-dev; nice tests/kube/build.sh $(KUBE_CACHE); fi

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not e2e and not hosts and not gpu and not kube"

# Needs an NVIDIA GPU. Uses those of TensorRT, ONNX Runtime with CUDA and PyTorch with CUDA that are installed. With
# GPU_PYTHON=python3 it installs nothing and uses that Python; docs/gpu.md lists the packages it must have.
GPU_PYTHON ?=
GPU_OPTIONS ?= $(if $(GPU_PYTHON),--untrained)
gpu: $(if $(GPU_PYTHON),,$(VENV)/.dev)
	@failed=0; python=$(or $(GPU_PYTHON),$(BIN)/python); \
	$$python -m pytest -m gpu tests/gpu --gpu-report docs/gpu-report.md || failed=1; \
	$$python -m benchmarks.engines --need-gpu $(GPU_OPTIONS) --out docs/benchmarks/engines-gpu.json \
		--plot docs/benchmarks/engines-gpu.svg || failed=1; \
	exit $$failed

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules $$(grep -rl '>>> ' --include='*.py' divisions serving router trainers benchmarks deploy docs)
	@$(MAKE) --no-print-directory docs

# The documentation as a site in build/site, in seconds and without the network. A dead link or anchor fails.
# Not --quiet: that silences the warnings, and with them the strictness.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What the product consists of as it is installed here: CycloneDX 1.6 in build/divisions.cdx.json.
SBOM_EXTRAS ?=
sbom: $(VENV)/.run
	@mkdir -p build
	@$(BIN)/python -m deploy.software_bill $(foreach extra,$(SBOM_EXTRAS),--extra $(extra)) >build/divisions.cdx.json || { rm -f build/divisions.cdx.json; exit 1; }
	@echo "build/divisions.cdx.json"

# Known vulnerabilities of every pinned version, by PyPI's data. A version without data fails: nothing is known of it.
audit:
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv --clear build/audit && build/audit/bin/python -m pip install -q --disable-pip-version-check pip-audit; }
	@build/audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

# A seeded sample of small wrong changes, each of which a test should notice. Minutes; not part of CI. For instance
# `make mutants SEED=7 COUNT=100`; `.venv/bin/python -m benchmarks.mutants --help` lists all options.
SEED ?= 0
COUNT ?= 60
mutants: $(VENV)/.dev
	$(BIN)/python -m benchmarks.mutants --seed $(SEED) --count $(COUNT)

bench: $(VENV)/.run native
	@exec $(BIN)/python -m benchmarks.compare

clean:
	rm -rf $(VENV) build dist router/_native *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
