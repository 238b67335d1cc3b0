# Everything runs in .venv, a virtual environment of this directory.

PYTHON ?= python3
ARGS ?=
KILLS ?= 1000
CHAOS ?= 60
SEED ?=
RUNS ?= 300
FUZZ_SECONDS ?= 600
FUZZED := tests/modules/common/wire/test_packed.py::test_whatever_comes_is_a_message_or_a_wire_error \
  tests/modules/common/wire/test_packed.py::test_any_message_survives_the_wire_in_any_pieces \
  tests/modules/common/wire/test_plain.py::test_no_input_does_worse_than_a_wire_error \
  tests/modules/common/wire/test_plain.py::test_what_is_encoded_decodes \
  tests/modules/cloudhub/test_sessions.py::test_whatever_is_written_the_hub_goes_on \
  tests/supervisor/test_admin_fuzz.py::test_every_answer_is_as_described_and_no_module_is_disturbed
BIN := .venv/bin
STAMP := .venv/.set-up
PEERS := .venv/peers/.set-up

.DEFAULT_GOAL := help
.PHONY: help setup run test lint demo crash-ipc chaos soak fuzz bench-cloudhub bench-controllers bench-ipc bench-start bench-supervisor clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the pinned dependencies and cloudcore in it

run: $(STAMP) ## run cloudcore in the foreground, with config/cloudcore.toml (ARGS="-v ...")
	@$(BIN)/cloudcore run --config config/cloudcore.toml $(ARGS)

test: $(STAMP) ## run all tests (ARGS="tests/ipc -k ..." for some)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP) ## check style, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: $(STAMP) ## an edge joins, is given work, and keeps its connection through a crash (1 min)
	@$(BIN)/python -m modules.hollow.demo

crash-ipc: $(STAMP) ## kill readers and writers of a channel, at random and at every step (KILLS=1000)
	@KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/ipc/test_kills.py tests/ipc/test_every_step.py

chaos: $(STAMP) ## let modules suffer every kind of fault: nothing is lost or left (CHAOS=60)
	@CHAOS=$(CHAOS) SEED=$(SEED) $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/crash/test_chaos.py

bench-ipc: $(STAMP) ## channels beside multiprocess's, pyzmq and faster-fifo (ARGS="--runs 5")
	@$(BIN)/python -m bench.ipc $(ARGS)

bench-start: $(STAMP) ## restarts and memory under fork, forkserver and spawn
	@$(BIN)/python -m bench.start_methods $(ARGS)

bench-supervisor: $(STAMP) $(PEERS) ## restarts, start, memory, CPU and status beside supervisord and circus (5 min)
	@$(BIN)/python -m bench.supervisor $(ARGS)

soak: $(STAMP) ## hundreds of random histories with kills and outages: every edge ends in step (RUNS=300)
	@SOAK=$(RUNS) $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/e2e/test_convergence.py

bench-controllers: $(STAMP) ## measure the controllers beside Go's figures (15 min, ARGS="--only pods")
	@$(BIN)/python -m bench.controllers $(ARGS)

fuzz: $(STAMP) ## write anything to the readers of frames and messages, and to the admin interface (FUZZ_SECONDS=600)
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); rounds=0; \
	while [ $$(date +%s) -lt $$end ]; do \
	  $(BIN)/python -m pytest -q -p no:cacheprovider --hypothesis-profile=fuzz --timeout=0 \
	    $(FUZZED) >.fuzz.log 2>&1 || { cat .fuzz.log; exit 1; }; \
	  rounds=$$((rounds + 1)); \
	done; rm -f .fuzz.log; echo "nothing found in $$rounds rounds, $(FUZZ_SECONDS) s"

bench-cloudhub: $(STAMP) ## measure CloudHub with hollow edges (ARGS="--nodes 100 --at-once 500 --repeats 1")
	@$(BIN)/python -m bench.cloudhub $(ARGS)

clean: ## remove .venv and what tools have left behind
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last: a set-up that was interrupted is done again. An environment that works
# is kept: made again with another python3, it would be a mixture of both.
$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: there is no $(PYTHON); on Debian and Ubuntu: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: cloudcore needs Python 3.11 or later, and $(PYTHON) is" \
	    "$$($(PYTHON) -c 'import platform; print(platform.python_version())');" \
	    "name another with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments;" \
	    "on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS): bench/peers.txt | $(STAMP)
	$(BIN)/python -m venv --clear .venv/peers
	.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers.txt
	@touch $@
