# Two commands: `make verify` runs the main job, `make test` the tests. Both set up .venv first if needed.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: verify test bench setup clean

verify: setup
	$(BIN)/prunelaws verify --model vgg16_bn

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

bench: setup
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	touch $@

clean:
	rm -rf .venv reports/out
