# Everything runs in .venv in this folder. A machine needs Python 3.11+, Rust and make.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: build demo test check test-rust test-python clean

build: .venv/ready
	$(BIN)/maturin develop --release --extras plot --quiet

# --group needs pip 25.1.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

demo: build
	$(BIN)/ferrocnn demo

test: check test-rust test-python

check: build
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest ferrocnn._kernels

test-rust: build
	.ci/each-isa cargo test --quiet -p ferrocnn-kernels

test-python: build
	$(BIN)/python -m pytest
	.ci/each-isa $(BIN)/python -m pytest tests/test_ops_*.py tests/test_model_gradients.py tests/test_training.py

clean:
	rm -rf .venv target dist
