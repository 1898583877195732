# make train | make demo-report | make explore | make test | make lint | make libtpu | make clean, and in CONTRIBUTING.md:
# make test-fast | make test-slow | make test-busy | make soak
# make train EXTRAS=cuda installs JAX for a GPU first: cuda (CUDA 13), cuda12, tpu; several as EXTRAS=cuda,gcs.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?=
# The versions that the tests pass with; `make CONSTRAINTS=` takes the newest of everything.
CONSTRAINTS ?= -c constraints.txt
WORKDIR ?= runs/digits

# What a command needs is installed when it is first called: the core for training, an extra for what wants one.
CORE := $(VENV)/installed$(addprefix -,$(EXTRAS))
DEV := $(VENV)/installed-dev
# uv installs several times faster.
INSTALL := $(if $(shell command -v uv),uv pip install --python $(VENV)/bin/python,$(VENV)/bin/python -m pip install) -q

.PHONY: train demo-report explore test test-fast test-slow test-busy soak lint libtpu libtpu-if-there clean
.DEFAULT_GOAL := train

train: $(CORE)
	$(VENV)/bin/python -m sagan_jax.main --config=configs/digits.py --workdir=$(WORKDIR)

# The page of a run, by default of the digits.
demo-report: $(CORE)
	@test -d $(WORKDIR) || $(MAKE) train
	$(VENV)/bin/python -m sagan_jax.report --workdir=$(WORKDIR)

# The page that shows what a run's networks attend to; without a run, those of the model in the package.
explore: $(VENV)/installed-explore
	$(VENV)/bin/python -m sagan_jax.explore $(if $(wildcard $(WORKDIR)),--workdir=$(WORKDIR))

# In the order of the folders, so that the long files begin first.
PYTEST := $(VENV)/bin/python -m pytest -n 3 --dist=loadfile --no-loadscope-reorder

test: libtpu-if-there
	$(PYTEST) -m ""

test-fast: $(DEV)
	$(PYTEST)

test-slow: libtpu-if-there
	$(PYTEST) -m slow

# The whole suite beside four programs that take all of the processor that they get.
test-busy: libtpu-if-there
	for i in 1 2 3 4; do sh -c 'while :; do :; done' & loops="$$loops $$!"; done; trap 'kill $$loops' EXIT; $(PYTEST) -m ""

# A run that is killed again and again.
soak: $(VENV)/installed
	$(VENV)/bin/python bench/soak.py

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "sagan_jax needs Python 3.11 or newer, but $(PYTHON) is older: run make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than what they were made from, so a second call installs nothing.
$(VENV)/installed: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(INSTALL) $(CONSTRAINTS) -e .
	touch $@

$(VENV)/installed-%: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(INSTALL) $(CONSTRAINTS) -e '.[$*]'
	touch $@

libtpu-if-there: $(DEV)
	@$(MAKE) libtpu || echo "no libtpu for this machine: tests/system/test_tpu_program.py skips what needs it" >&2

# The TPU's compiler, for bench/tpu_aot.py and its tests, in a folder of its own: among the other packages it would have
# every program of JAX look for a TPU at its start and complain that there is none.
libtpu: $(VENV)/libtpu/installed

$(VENV)/libtpu/installed: $(DEV)
	$(INSTALL) $(CONSTRAINTS) --no-deps --upgrade --target $(VENV)/libtpu libtpu
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .jax_cache *.egg-info
