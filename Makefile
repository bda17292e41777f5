# Everything a developer or CI does. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first of these that runs and is new enough makes the virtual environment.
PYTHONS := python3.11 python3 python3.12 python3.13
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
# Processes of tests: they wait half of their time.
JOBS ?= 3
SEEDS ?= 500
SPECS ?= 10000
CALLS ?= 300
EXAMPLE ?= examples/quick-start.yaml
# Of `make load` (empty: all) and `make profile`: the files of loadtests/load/scenarios.
SCENARIO ?=
# What builds the container images: docker, or a program with its commands.
ENGINE ?= docker
# Images with the dependencies of one extra.
IMAGE_EXTRAS := gateway experiment suggestion trial-launcher metrics-collector early-stopping cli
# Where `make run` keeps its data; empty means .trialbus/ in this folder.
DATA_DIR ?=
# More arguments for `make run`, `make test` (pytest) and `make bench`.
ARGS ?=

CODE := .ci shared services tests docs proto $(wildcard examples loadtests deploy)
TYPED := .ci shared services tests docs proto $(wildcard loadtests deploy)
PYTEST := $(BIN)/python -m pytest --no-header

##@ Use
.PHONY: run
run: $(VENV)/.stamp-local $(VENV)/.stamp-project ## Set everything up in .venv and run the tutorial's experiment
	@$(BIN)/trialbus run $(EXAMPLE) $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(ARGS)

.PHONY: setup
setup: $(VENV)/.stamp-dev $(VENV)/.stamp-project ## Set .venv up for development

##@ Check
.PHONY: test
test: setup $(VENV)/.stamp-katib-client ## Run all tests, the real servers included
	@if grep -rqs --include='*.py' 'pytest[.]mark[.]alone' tests; then $(PYTEST) -m alone $(ARGS); fi
	@$(PYTEST) -m 'not alone' -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: lint
lint: setup ## Check format, lint, types and import rules
	$(BIN)/ruff format --check --quiet $(CODE)
	$(BIN)/ruff check --quiet $(CODE)
	$(BIN)/mypy --strict --no-error-summary $(TYPED)
	$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

.PHONY: verify
verify: lint ## Check what `make lint` does, and by tests: generated files, docs, style and charts
	$(PYTEST) -n $(JOBS) tests/tidy tests/charts

# IMAGE is one with a shell that the cluster's nodes have: docs/how-to/test-on-a-cluster.md.
.PHONY: test-cluster
test-cluster: setup ## Hold the contract, the charts and the tutorial against the cluster of KUBECONFIG=file
	@test '$(origin KUBECONFIG)' = 'command line' -a -f '$(KUBECONFIG)' || \
		{ echo 'say which cluster: make test-cluster KUBECONFIG=FILE' >&2; exit 2; }
	TRIALBUS_TEST_KUBECONFIG='$(abspath $(KUBECONFIG))' TRIALBUS_TEST_IMAGE='$(IMAGE)' \
		$(PYTEST) --timeout 900 tests/cluster $(ARGS)

.PHONY: definitions-server
definitions-server: ## Build Kubernetes' own server of custom resources, for tests (as root, on Debian, mmdebstrap)
	tests/cluster/definitions/build.sh build/definitions

.PHONY: simulate
simulate: setup ## Run the deterministic simulation with SEEDS=n seeds
	TRIALBUS_SEEDS=$(SEEDS) $(PYTEST) -n $(JOBS) --timeout 0 tests/simulation $(ARGS)

.PHONY: test-asked-faults
test-asked-faults: setup ## Kill workers and services a hundred times in a run of 2,000 asked trials
	KILLS=100 ASKED_TRIALS=2000 TRIAL_S=0.5 $(PYTEST) -s tests/e2e/test_kill_workers.py $(ARGS)

.PHONY: fuzz
fuzz: setup ## Try SPECS=n generated specs with each law of parsing, and CALLS=n generated calls with each operation
	TRIALBUS_SPECS=$(SPECS) TRIALBUS_CALLS=$(CALLS) $(PYTEST) -n $(JOBS) --timeout 0 tests/property/test_katib_specs_fuzz.py \
		tests/property/test_kubernetes_calls.py tests/property/test_rest_calls.py $(ARGS)

.PHONY: bench
bench: setup ## Measure the figures of loadtests/README.md
	$(BIN)/python -m loadtests $(ARGS)

.PHONY: test-cluster-faults
test-cluster-faults: setup ## Run 500 trials through the faults of an API server's double
	CLUSTER_FAULT_TRIALS=500 $(PYTEST) --timeout 1200 -s tests/cluster/test_cluster_faults.py $(ARGS)

.PHONY: bench-cluster
bench-cluster: setup ## Measure trials as objects of a cluster against a double of its API server
	$(BIN)/python -m loadtests.cluster $(ARGS)

.PHONY: bench-quality
bench-quality: setup $(VENV)/.stamp-bench ## Compare the algorithms' points with other libraries': docs/benchmarks
	$(VENV)/bench/bin/python -m loadtests.quality $(ARGS)

.PHONY: bench-suggest
bench-suggest: setup $(VENV)/.stamp-bench ## Measure each algorithm's own time beside Optuna and scikit-optimize
	$(VENV)/bench/bin/python -m loadtests.suggest $(ARGS)

.PHONY: bench-peers
bench-peers: setup $(VENV)/.stamp-bench ## Compare ask and tell with Optuna: trials a second, side by side
	$(BIN)/python -m loadtests.peers $(ARGS)

# ARGS='--scale 0.1 --seconds 20' tries it; ARGS=--background goes on without the terminal.
.PHONY: load
load: setup $(VENV)/.stamp-bench ## Put load on a stack, SCENARIO=name (else all), and write docs/benchmarks/load.md
	$(BIN)/python -m loadtests.load $(SCENARIO) $(ARGS)

.PHONY: profile
profile: setup $(VENV)/.stamp-bench ## Look with py-spy where time goes in SCENARIO=name: docs/benchmarks/profiles.md
	$(BIN)/python -m loadtests.load --profile --report-only $(or $(SCENARIO),echo) $(ARGS)

.PHONY: bench-darts
bench-darts: setup ## Compare the genotypes that DARTS finds with random ones: docs/benchmarks/darts.md
	PYTHONPATH=examples/nas $(BIN)/python -m loadtests.quality.genotypes $(ARGS)

.PHONY: bench-events
bench-events: setup ## Measure what following by server-sent events costs
	$(BIN)/python -m loadtests --runs 3 $(ARGS) followers

.PHONY: bench-fair
bench-fair: setup ## Measure who waits for whom: free places, and a slow algorithm beside others
	$(BIN)/python -m loadtests --runs 1 $(ARGS) free-slot fair-light fair-heavy

.PHONY: bench-watching
bench-watching: setup ## Measure what metrics, scrapes and traces cost: processor time a trial, in pairs of runs
	$(BIN)/python -m loadtests.watching $(ARGS)

.PHONY: wrapper
wrapper: ## Build the wrapper of trials' pods into build/wrapper (needs musl-gcc: Debian's musl-tools)
	@mkdir -p build/wrapper
	@$(MAKE) -C deploy/docker/wrapper OUT=$(CURDIR)/build/wrapper/trialbus-wrap

.PHONY: test-wheel
test-wheel: setup ## Run the example from the built wheel in an empty environment
	.ci/test-wheel

##@ Change
.PHONY: fmt
fmt: setup ## Format the code and repair what ruff can
	$(BIN)/ruff format --quiet $(CODE)
	$(BIN)/ruff check --fix --quiet $(CODE)

.PHONY: generate
generate: setup ## Make the generated pages of docs/ and proto/ anew
	$(BIN)/python docs/generate.py

.PHONY: golden-charts
golden-charts: setup ## Render deploy/helm into tests/charts/golden
	$(BIN)/python docs/render.py golden

.PHONY: manifests
manifests: setup ## Render deploy/helm into deploy/manifests
	$(BIN)/python docs/render.py manifests

.PHONY: charts
charts: setup ## Package the charts, with what they depend on, into dist/charts
	$(BIN)/python docs/render.py packages

.PHONY: release-events
release-events: setup ## Keep the contracts of events as they are now as released
	$(BIN)/python docs/generate.py --release-events

# dev.lock is made first and constrains the others, so that one .venv can serve all three.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
.PHONY: lock
lock: setup ## Remake the lock files; UPGRADE=1 takes newer releases
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra dev -o requirements/dev.lock
	$(LOCK) pyproject.toml --extra local -c requirements/dev.lock -o requirements/local.lock
	$(LOCK) requirements/katib-client.in -o requirements/katib-client.lock
	$(LOCK) requirements/build.in -c requirements/dev.lock -o requirements/build.lock
	$(LOCK) pyproject.toml requirements/bench.in --extra suggestion -c requirements/dev.lock -o requirements/bench.lock
	for extra in $(IMAGE_EXTRAS); do \
		$(LOCK) pyproject.toml --extra $$extra -c requirements/dev.lock -o requirements/images/$$extra.lock; done
	for image in trainer nats mongod; do \
		$(LOCK) requirements/images/$$image.in -c requirements/dev.lock -o requirements/images/$$image.lock; done

# REFRESH=1 takes Debian's newest packages; ONLY="gateway cli" makes some.
.PHONY: images
images: setup ## Build the container images with ENGINE=docker, tagged with the version or TAG=
	ENGINE=$(ENGINE) deploy/docker/base $(if $(REFRESH),REFRESH)
	$(BIN)/python deploy/docker/images.py --engine $(ENGINE) $(if $(TAG),--tag $(TAG)) $(ONLY)

.PHONY: wheel
wheel: setup ## Build the wheel into dist/
	rm -rf dist
	$(BIN)/hatchling build -t wheel -d dist

.PHONY: clean
clean: ## Remove .venv, caches, built files and .trialbus/
	rm -rf $(VENV) dist build .trialbus .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find shared services tests $(wildcard examples loadtests) -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# One environment serves running and developing: dev.lock is a superset of local.lock.
# Stamps make the second run instant; a changed lock file installs again.
$(VENV)/.stamp-venv:
	@for python in $(PYTHONS); do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then echo 'trialbus needs Python 3.11 or newer on PATH (tried: $(PYTHONS))' >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) || { echo 'could not make $(VENV): Debian and Ubuntu need the package python3-venv' >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-local: requirements/local.lock | $(VENV)/.stamp-venv
	@$(PIP) install --require-hashes -r $<
	@touch $@

$(VENV)/.stamp-dev: requirements/dev.lock | $(VENV)/.stamp-venv
	@$(PIP) install --require-hashes -r $<
	@touch $@ $(VENV)/.stamp-local

# The official Katib client of the end-to-end tests: an environment of its own, see its lock file.
$(VENV)/.stamp-katib-client: requirements/katib-client.lock | $(VENV)/.stamp-venv
	@$(BIN)/python -m venv $(VENV)/katib-client
	@$(VENV)/katib-client/bin/python -m pip -qq --disable-pip-version-check install --require-hashes -r $<
	@touch $@

# The optimisers that ours are measured beside, and trialbus: an environment of its own, so that no
# part of the product leans on them.
$(VENV)/.stamp-bench: requirements/bench.lock requirements/build.lock pyproject.toml | $(VENV)/.stamp-venv
	@$(BIN)/python -m venv $(VENV)/bench
	@$(VENV)/bench/bin/python -m pip -qq --disable-pip-version-check install --require-hashes -r $<
	@$(VENV)/bench/bin/python -m pip -qq --disable-pip-version-check install --require-hashes -r requirements/build.lock
	@$(VENV)/bench/bin/python -m pip -qq --disable-pip-version-check install --no-deps --no-build-isolation --editable .
	@touch $@

# Editable, without dependencies (the locks bring them) and without fetching a build backend.
$(VENV)/.stamp-project: pyproject.toml requirements/build.lock | $(VENV)/.stamp-venv
	@$(PIP) install --require-hashes -r requirements/build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
