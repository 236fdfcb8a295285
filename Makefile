# make setup, then make demo or make test. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# TensorFlow's start-up messages say nothing about the run.
export TF_CPP_MIN_LOG_LEVEL ?= 2
EXTRAS ?= test
# Files of tests side by side: much of the time is tracing, in one thread.
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test lint clean

setup: $(VENV)/.installed

# ensurepip is a package of its own on Debian and Ubuntu.
$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "error: Python 3.10 or newer is needed; set PYTHON=" >&2; \
	      exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "error: python -m venv failed; on Debian or Ubuntu:" \
	      "apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[$(EXTRAS)]'
	@touch $@

demo: setup
	$(BIN)/python -m minc_tf.cli.demo $(DEMO_FLAGS)

test: setup
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build *.egg-info runs
