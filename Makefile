# make train | make demo-report | make test | make lint | make clean
PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/digits

.PHONY: train demo-report test test-fast test-slow lint clean
.DEFAULT_GOAL := train

train: $(VENV)/installed
	$(VENV)/bin/python -m sagan_jax.main --config=configs/digits.py --workdir=$(WORKDIR)

# The page of a run, by default of the digits.
demo-report: $(VENV)/installed
	@test -d $(WORKDIR) || $(MAKE) train
	$(VENV)/bin/python -m sagan_jax.report --workdir=$(WORKDIR)

test: test-fast test-slow

test-fast: $(VENV)/installed
	$(VENV)/bin/python -m pytest -n auto --dist=loadfile

test-slow: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m slow

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The stamp is newer than what it was made from, so a second call installs nothing.
$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "sagan_jax needs Python 3.11 or newer, but $(PYTHON) is older: run make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[tfds,dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .jax_cache *.egg-info
