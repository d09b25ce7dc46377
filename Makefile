# A fresh machine needs Python 3.11 or newer with venv, and a package registry; `make run` and `make test` fetch the rest.
# `make test` also starts real services: Kafka wants Java 17 and Maven, and without them its tests say so.
#
#   make run       set up, then play the quick start
#   make test      set up, then test the wheel            make test ARGS='-k window -x'
#   make e2e       set up, then test on the cluster of KUBECONFIG: e2e/README.md says which images it has to have
#   make check     formatting, lint, types, import contracts, generated files
#   make format    what check would complain of, mended where a tool can
#   make generate  crds/ and docs/ written again from the code
#   make bench     the benchmarks as a table
#   make dev       an editable install in .venv for work on Tidemill itself
#   make clean     remove what these made
#
# PYTHON names another interpreter, VENV another place for the environment, WORKERS how many processes share the tests:
# by whole files, since much of a file's time goes into waiting for what it has killed.

PYTHON ?=
VENV ?= build/venv
ARGS ?=
WORKERS ?= 2
QUICKSTART ?= examples/flights/quickstart.py
BENCH ?= bench
BIN := $(VENV)/bin
CODE := $(wildcard runtime operator tests e2e charts examples bench docs .ci)

export PYTHON VENV

.PHONY: run test e2e check format generate bench dev clean
.NOTPARALLEL:

run:
	@.ci/setup run
	@$(BIN)/python $(QUICKSTART) $(ARGS)

test:
	@.ci/setup test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 $(ARGS)

e2e:
	@.ci/setup test
	@$(BIN)/python -m pytest e2e $(ARGS)

check:
	@.ci/setup test
	@BIN=$(BIN) .ci/check $(CODE)

format:
	@.ci/setup test
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

generate:
	@.ci/setup test
	@$(BIN)/python -m tidemill.api.crd crds/
	@$(BIN)/python -m tidemill.api.docs docs/
	@if [ -f docs/generate.py ]; then $(BIN)/python docs/generate.py; fi

bench:
	@.ci/setup test
	@$(BIN)/python -m $(BENCH) $(ARGS)

dev:
	@VENV=.venv .ci/setup dev

clean:
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find runtime tests $(wildcard operator e2e charts examples bench) -name __pycache__ -prune -exec rm -rf {} +
