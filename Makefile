# The only way in. `make` alone lists what there is.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
# Where images set this, each of the thousands of processes that tests start would compile all of Tenfold anew.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help up test check bench faults oracle drills clean

help:            ## this list
	@grep -hE '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

up:              ## set everything up and run the example platform
	@$(PYTHON) tools/setup.py run
	@$(BIN)/tenfold demo

test:            ## set up what the tests need, check, and run all tests
	@$(PYTHON) tools/setup.py dev --servers
	@$(MAKE) --no-print-directory check
# What failed runs once more, alone: real processes beside real processes may miss a deadline. Both runs are shown.
	@$(BIN)/pytest -n 2 --dist loadfile || $(BIN)/pytest --last-failed --last-failed-no-failures none

check:           ## lint, types, architecture
	@$(PYTHON) tools/setup.py dev
	@$(BIN)/ruff check --quiet --no-cache .
	@$(BIN)/ruff format --quiet --check --no-cache .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/pytest -q tests/test_architecture.py

bench:           ## measure, side by side; prints machine, medians and ratios
	@$(PYTHON) tools/setup.py dev --servers
	@for f in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$f .py) || exit 1; done

ROUNDS ?= 1
faults:          ## kill and cut writers, and moves under them, from new seeds each time; ROUNDS=5: longer
	@$(PYTHON) tools/setup.py dev --servers
	@TENFOLD_FAULT_ROUNDS=$(ROUNDS) $(BIN)/pytest -n 2 tests/faults tests/sharding/moves tests/cli/test_shard_moves.py \
	  tests/sharding/engine/test_writes_cut_short.py tests/sharding/engine/test_full_server.py

STATEMENTS ?= 100000
SEED ?= $(shell date +%s)
ENGINE ?= both
oracle:          ## ask one database and the shards the same, 100,000 times; SEED, ENGINE=sqlite or mysql, ROUNDS=5: longer
	@$(PYTHON) tools/setup.py dev --servers
	@TENFOLD_ORACLE_STATEMENTS=$$(($(STATEMENTS) * $(ROUNDS))) TENFOLD_ORACLE_SEED=$(SEED) TENFOLD_ORACLE_ENGINE=$(ENGINE) \
	  $(BIN)/pytest -n 2 --dist loadfile --timeout $$((3600 * $(ROUNDS))) tests/sharding/oracle

drills:          ## deploys killed, backups broken, receivers away: what takes minutes; SEED in TENFOLD_SEED
	@$(PYTHON) tools/setup.py dev --servers
	@TENFOLD_DRILLS=1 $(BIN)/pytest -n 2 --dist loadfile tests/deploy tests/hosts tests/notify tests/monitor tests/pipeline \
	  tests/runtime

clean:           ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis
