# Everything a fresh machine needs is Python 3.10 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A module is compiled when it is first imported: compiling all that is installed takes longer than installing it.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo test check format docs fuzz clean

# Rebuilt when the pins or the package's own needs change.
$(VENV)/ready: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Likewise needs Python 3.10 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[dev]'
	touch $@

setup: $(VENV)/ready

demo: setup
	$(BIN)/likewise demo --out runs/demo

# A process a core, each with one thread: small steps gain little from more.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_structure.py

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup
	$(BIN)/python docs/make_commands.py
	$(BIN)/python docs/make_methods.py

# Damaged and odd inputs at random; not part of the tests.
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --minutes 30

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
