# Everything runs in .venv in this folder. A machine needs Python 3.11+, Rust and make.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The frameworks that `make bench` compares with, in a venv of their own: PyTorch alone brings 5 GB.
PEERS ?= tensorflow,pytorch,jax,onnxruntime
comma := ,

.PHONY: build demo test check test-rust test-python bench clean

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
	.ci/each-isa $(BIN)/python -m pytest

# PEERS=tensorflow,onnxruntime picks some; PHOTOS=folder adds the race from a folder of photographs
# to a model; QUICK=1 takes a few minutes, and writes to target/bench in place of docs.
bench: build .venv-bench/bin/python
	.venv-bench/bin/python -m pip install --quiet --group bench \
		$(foreach peer,$(subst $(comma), ,$(PEERS)),--group $(peer))
	VIRTUAL_ENV=.venv-bench $(BIN)/maturin develop --release --quiet
	cargo build --release --quiet --package ferrocnn-kernels --example machine
	.venv-bench/bin/python -m benches.run --peers '$(PEERS)' $(if $(PHOTOS),--photos '$(PHOTOS)') \
		$(if $(QUICK),--quick --out target/bench)

.venv-bench/bin/python:
	$(PYTHON) -m venv .venv-bench
	$@ -m pip install --quiet --upgrade 'pip>=25.1'

clean:
	rm -rf .venv .venv-bench target dist
