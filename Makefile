# make setup, then make demo or make test. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= test
# Files of tests side by side: much of the time is tracing, in one thread. In
# the order of tests/conftest.py.
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder
PYTEST := -m pytest --durations=10
# Python compiles what is imported, a part of what is installed.
INSTALL := -m pip install --quiet --no-compile

.PHONY: setup setup-jax demo test test-jax coverage serve lint docs notebooks axe clean

setup: $(VENV)/.installed

# ensurepip is a package of its own on Debian and Ubuntu.
$(VENV)/.installed: setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python 3.11 or newer is needed; set PYTHON=" >&2; \
	      exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "error: python -m venv failed; on Debian or Ubuntu:" \
	      "apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python $(INSTALL) --upgrade pip
	$(BIN)/python $(INSTALL) -e '.[$(EXTRAS)]'
	@touch $@

demo: setup
	$(BIN)/python -m minc_tf.cli.demo $(DEMO_FLAGS)

test: setup
	$(BIN)/python $(PYTEST) $(PYTEST_FLAGS)

# Which lines and branches of minc_tf the tests on TensorFlow run; half as long
# again as they take. The settings are in .coveragerc.
coverage: setup
	$(BIN)/python -m pip install --quiet 'pytest-cov>=7'
	$(BIN)/python $(PYTEST) $(PYTEST_FLAGS) --cov --cov-report=json \
	    --cov-report=term:skip-covered

# A second environment, without TensorFlow.
JAX := $(VENV)/jax
# What a backend can change. Networks, the files of their weights and schedules
# are Keras's own, and theorems are NumPy's: make test sees to these.
ON_TENSORFLOW := models/test_applications models/test_encoders \
    models/test_heads models/test_resnet models/test_stored_encoders \
    objectives/test_minc_exactness
JAX_TESTS := $(filter-out $(ON_TENSORFLOW:%=tests/%.py), \
    $(wildcard tests/models/test_*.py tests/objectives/test_*.py)) \
    tests/optimizers/test_lars.py tests/augment/test_two_views.py \
    tests/training/test_jax_run.py
# Two devices in one process; what is compiled is run once, and the emitters of
# fusions take 40 % of the time of compiling.
XLA_FLAGS ?= --xla_force_host_platform_device_count=2 \
    --xla_backend_optimization_level=0 \
    --xla_llvm_disable_expensive_passes=true \
    --xla_cpu_use_fusion_emitters=false

$(JAX)/.packages: requirements-jax.txt
	@$(PYTHON) -m venv $(JAX)
	$(JAX)/bin/python $(INSTALL) --upgrade pip
	$(JAX)/bin/python $(INSTALL) -r requirements-jax.txt \
	    'pytest>=8' 'pytest-xdist>=3.7'
	@touch $@

$(JAX)/.installed: $(JAX)/.packages setup.cfg setup.py pyproject.toml
	$(JAX)/bin/python $(INSTALL) --no-deps -e .
	@touch $@

setup-jax: $(JAX)/.installed

# What one process, or an earlier run, has compiled the others read: operations
# by the hundred, and models that many tests build anew.
JAX_CACHE := JAX_COMPILATION_CACHE_DIR="$(abspath $(JAX))/compiled" \
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

test-jax: setup-jax
	KERAS_BACKEND=jax XLA_FLAGS="$(XLA_FLAGS)" $(JAX_CACHE) \
	    $(JAX)/bin/python $(PYTEST) $(PYTEST_FLAGS) $(JAX_TESTS)

# What of savedmodels/ to serve, and where on the loopback address.
MODEL ?= shapes
GRPC_PORT ?= 8500
REST_PORT ?= 8501

serve:
	@docker compose version >/dev/null 2>&1 || \
	    { echo "error: docker compose is needed: docker, with its plugin" \
	      "compose" >&2; exit 1; }
	@ls savedmodels/$(MODEL)/[0-9]*/saved_model.pb >/dev/null 2>&1 || \
	    { echo "error: savedmodels/$(MODEL) has no version with" \
	      "saved_model.pb; export one with minc-export --name $(MODEL)" >&2; \
	      exit 1; }
	MODEL=$(MODEL) GRPC_PORT=$(GRPC_PORT) REST_PORT=$(REST_PORT) \
	    docker compose -f deploy/docker-compose.yml up

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site of the docs, in site/.
$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python $(INSTALL) -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/tools

# Runs the notebooks whole, and stores what they gave for the site.
notebooks: $(VENV)/.docs
	$(BIN)/python docs/tools/notebooks.py

# What finds faults of accessibility in pages that a browser shows; tests skip
# without it.
AXE := axe-core@4.14.1

axe: $(VENV)/axe-core/axe.min.js

$(VENV)/axe-core/axe.min.js: $(VENV)/.installed
	@mkdir -p $(@D)
	cd $(@D) && tar -xzf "$$(npm pack --silent $(AXE))" --strip-components=1
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info runs coverage.json
