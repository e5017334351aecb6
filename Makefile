# make demo    the bundled model on bundled real images, three parties on this machine
# make test    every test, in parallel
# make check   every check a contributor needs: linters, types, formatting, tests
# make readme  the tables of README.md and docs/ops.md, from what is installed, and what is stored in results/
# make results everything in results/, measured anew on this machine, then make readme
#
# All build what they need in .venv, from the python3 on PATH and a C++20 compiler; cmake and ninja come from PyPI.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Arguments for pytest, as in: make test ARGS="-k cli"
ARGS ?=
WORKERS ?= auto

# pip and the linters want a home for their caches; an empty one would put them into the root folder.
ifeq ($(strip $(HOME)),)
export HOME := $(CURDIR)/$(VENV)/home
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# An outer environment must not leak into this one.
unexport PYTHONPATH
unexport PYTHONHOME
unexport VIRTUAL_ENV

CONSTRAINTS := $(wildcard constraints.txt)
INSTALL := $(BIN)/python -m pip install --quiet $(addprefix -c ,$(CONSTRAINTS))
# What a rebuild of the native library depends on; Python files are used in place.
NATIVE := $(shell find mpc_bridge/kernels -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.cu' -o -name '*.cuh')

# Models that make results measures; those that it also measures on slower networks; and how long the first may take.
VECTORS ?= ../shared/vectors
# Small ones first: what does not fit into the time waits.
MODELS ?= $(foreach name,ad01_int8 kws_ref_model micro_speech_quantized person_detect pretrainedResnet_quant \
    mobilenet_v1_0_25_128_quant mobilenet_v1_0_5_160_quant mobilenet_v2_1_0_224_quant,$(VECTORS)/$(name)/model.tflite)
NETWORK_MODELS ?= $(foreach name,ad01_int8 kws_ref_model micro_speech_quantized,$(VECTORS)/$(name)/model.tflite)
inputs = $(foreach model,$(1),--input $(dir $(model))inputs.npz)
REPEAT ?= 3
MINUTES ?= 40

.PHONY: demo test check lint types format readme results clean

demo: $(VENV)/.installed
	$(BIN)/mpc-bridge demo

test: $(VENV)/.tools
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: lint types format test

lint: $(VENV)/.tools
	$(BIN)/ruff check .

types: $(VENV)/.tools
	$(BIN)/mypy --strict -p mpc_bridge

format: $(VENV)/.tools
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

readme: $(VENV)/.tools
	$(BIN)/python -m mpc_bridge.cli.tables --write

results: $(VENV)/.tools
	$(BIN)/mpc-bridge bench $(MODELS) $(call inputs,$(MODELS)) --repeat $(REPEAT) --max-minutes $(MINUTES) \
	    -o results/local.json
	$(BIN)/mpc-bridge bench $(NETWORK_MODELS) $(call inputs,$(NETWORK_MODELS)) --repeat $(REPEAT) \
	    --network local --network lan --network wan -o results/networks.json
	$(BIN)/mpc-bridge report results/local.json results/networks.json -o results/report.html
	$(BIN)/mpc-bridge report results/local.json results/networks.json -o results/report.md
	$(BIN)/python -m mpc_bridge.cli.tables --write

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml CMakeLists.txt $(CONSTRAINTS) $(NATIVE)
	$(INSTALL) -e .
	touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(INSTALL) -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
