# Everything that a developer or a build server runs. Each target sets up what
# it needs, on a fresh Debian or Ubuntu with a Rust toolchain, as root or not.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench image vectors dashboard tools
SHELL := /bin/sh
# Where rustup puts a toolchain, for shells that haven't heard of it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/installed.txt
REQUIREMENTS := scripts/sbom-requirements.txt \
	$(addprefix tests/,interop/requirements.txt mesh/requirements.txt chart/requirements.txt observability/requirements.txt) \
	$(addprefix python/tests/,requirements.txt pep807/requirements.txt e2e/requirements.txt) \
	$(addprefix python/integrations/,example_index/requirements.txt warehouse/requirements.txt)

help: ## this table
	@echo "Mintage"
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# The development profile: it is ready in two minutes on two cores. The release
# profile (fat LTO, one codegen unit) takes several times as long, and the demo
# has nothing to hurry for.
demo: tools ## the whole story on one machine: mint, narrow, verify, refuse
	@echo "Building Mintage; the first time takes a few minutes ..."
	@cargo build --locked
	@cargo run --quiet --locked -- demo

test: tools $(INSTALLED) ## all tests, those with PyPI's own libraries too
	@scripts/redis-server $(VENV)
	@scripts/prometheus $(VENV)
	MINTAGE_TEST_REQUIRE_REDIS=1 cargo test --locked
	$(VENV)/bin/python tests/interop/make_vectors.py --check
	$(VENV)/bin/python -m pytest tests/interop
	$(VENV)/bin/python python/tests/e2e/install_tools.py $(VENV)/tools
	cd python && ../$(VENV)/bin/python -m pytest tests
	$(VENV)/bin/python -m pytest python/integrations/warehouse/tests
	$(VENV)/bin/python -m pytest tests/image
	$(VENV)/bin/python -m pytest tests/mesh
	$(VENV)/bin/python python/tests/versions.py
	$(VENV)/bin/python tests/chart/install_tools.py $(VENV)/tools
	$(VENV)/bin/python -m pytest tests/chart
	$(VENV)/bin/python -m pytest tests/observability

lint: tools $(INSTALLED) ## formatting, clippy, the contract, the dependencies
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 \
		|| rustup component add rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	$(VENV)/bin/buf lint proto
	cd python && ../$(VENV)/bin/python -m mypy --strict src
	$(VENV)/bin/python -m mypy --config-file python/tests/e2e/mypy.ini python/tests/e2e \
		python/integrations/example_index
	$(VENV)/bin/python -m mypy --config-file tests/image/mypy.ini tests/image scripts/sbom.py
	$(VENV)/bin/python -m mypy --config-file tests/mesh/mypy.ini tests/mesh
	$(VENV)/bin/python -m mypy --config-file tests/chart/mypy.ini tests/chart
	$(VENV)/bin/python -m mypy --config-file tests/observability/mypy.ini tests/observability helm/dashboard.py
	$(VENV)/bin/python -m mypy --strict scripts/chart-readme
	cd python/integrations/pypiserver && ../../../$(VENV)/bin/python -m mypy mintage_pypiserver.py
	cd python/integrations/devpi && ../../../$(VENV)/bin/python -m mypy src
	cd python/integrations/warehouse && MYPYPATH=../../src ../../../$(VENV)/bin/python -m mypy \
		--strict -p mintage_warehouse
	@scripts/deny

bench: tools $(INSTALLED) ## what kernel, service and client cost, beside their bare limits
	@scripts/redis-server $(VENV)
	@echo "Building the release (fat LTO); the first time takes five minutes, measuring two more ..."
	cargo bench --locked --bench kernel --bench service
	@cargo build --quiet --locked
	$(VENV)/bin/python python/benches/cost.py

# Where base images can be pulled, the Dockerfile does the same on its own.
image: tools $(INSTALLED) ## a Docker image of the release, and what is in it
	@echo "Building the release (fat LTO); the first time takes five minutes ..."
	cargo build --release --locked
	$(VENV)/bin/python scripts/sbom.py target/mintage.cdx.json \
		--created "$$(git show --no-patch --format=%cI || echo 1970-01-01T00:00:00Z)"
	@tag="$$(scripts/image target/release/mintage "" target/mintage.cdx.json)" && docker image ls "$$tag"

vectors: $(INSTALLED) ## makes tests/vectors/ anew with PyPI's own libraries
	$(VENV)/bin/python tests/interop/make_vectors.py

# Grafana has no part in it: the panels' queries are asked of a real Prometheus, and drawn.
dashboard: tools $(INSTALLED) ## draws docs/dashboard.png anew: seven minutes of a real load
	@scripts/redis-server $(VENV)
	@scripts/prometheus $(VENV)
	@cargo build --quiet --locked
	@$(PYTHON) -m venv $(VENV)/picture
	@$(VENV)/picture/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement tests/observability/picture/requirements.txt
	$(VENV)/bin/python tests/observability/picture/record.py target/dashboard.json
	$(VENV)/picture/bin/python tests/observability/picture/draw.py target/dashboard.json docs/dashboard.png

# A C compiler links Rust's programs and builds aws-lc.
tools:
	@command -v cargo >/dev/null || { echo "mintage: no Rust toolchain; see https://rustup.rs" >&2; exit 1; }
	@scripts/need build-essential sh -c 'command -v cc'

$(INSTALLED): $(REQUIREMENTS)
	@scripts/need python3-venv $(PYTHON) -c 'import ensurepip, venv'
	@echo "Installing the Python side of the tests into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(patsubst %,--requirement %,$^)
	@$(VENV)/bin/python -m pip freeze > $@
