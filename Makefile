# Everything runs in .venv in this folder. A machine needs Python 3.11+, Rust and make.
PYTHON ?= python3
BIN := .venv/bin
HAS := $(BIN)/python -c "import sys; from ferrocnn._kernels import instruction_sets as sets; \
  sys.exit(sys.argv[1] not in sets())" #
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

# The tests of the kernels, once for each instruction set that this machine has.
KERNEL_TESTS := tests/test_ops_*.py tests/test_model_gradients.py tests/test_training.py

test-rust: build
	@set -e; for isa in portable avx2 avx512; do \
	  if $(HAS)$$isa; then echo "cargo test, $$isa"; \
	    FERROCNN_ISA=$$isa cargo test --quiet -p ferrocnn-kernels; \
	  else echo "skipped: this machine lacks $$isa"; fi; done

test-python: build
	$(BIN)/python -m pytest
	@set -e; for isa in portable avx2 avx512; do \
	  if $(HAS)$$isa; then echo "pytest, $$isa"; \
	    FERROCNN_ISA=$$isa $(BIN)/python -m pytest $(KERNEL_TESTS); \
	  else echo "skipped: this machine lacks $$isa"; fi; done

clean:
	rm -rf .venv target dist
