# `make run` shows Stopgap at work, `make test` proves it. Neither needs a step before it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test packages check unit soak crash chaos bench clean

BIN := .venv/bin
# more than there are cores: the end-to-end tests mostly wait for others
WORKERS ?= 4
ARGS ?=
SOAK ?= 1000000
KILLS ?= 2000
STORE ?= sqlite

# Layers 0 to 2, where every branch is tested.
PURE := errors value clock duration rate window storm action alert matcher template survey probe wording rule \
  catalog recovery incident ledger brakes guard plan rulebook episodes facts transitions moves asking beginning \
  reconcile trials decide foregone journal approval audience explanation retention prospect escalation recorder closing \
  opening timers turns faults terms marks petition asker planner inventory messages steps outlook starting \
  shadow perform intake weather claims foresight engine orders rehearsal explain reconciler
comma := ,
empty :=
PURE_FILES := $(subst $(empty) $(empty),$(comma),$(foreach m,$(PURE),*/stopgap/$(m).py */stopgap/$(m)/*))

help:  ## say what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/demo.stamp  ## the demo, until Ctrl-C (ARGS=--once: one round); never needs root
	@$(BIN)/stopgap demo $(ARGS)

test: packages .venv/dev.stamp  ## lint, then the whole suite with its coverage gates
	@$(MAKE) --no-print-directory check
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -q -m "not bench" -n $(WORKERS) --dist loadgroup \
	  --cov --cov-report= --cov-fail-under=0 $(ARGS)
	$(BIN)/coverage report
	@echo "Every branch of layers 0 to 2:"
	@$(BIN)/coverage report --fail-under=100 --include='$(PURE_FILES)'

packages:
	@.ci/packages

check: .venv/dev.stamp  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

unit: .venv/dev.stamp  ## only the tests that open no socket
	$(BIN)/python -m pytest -q tests/unit tests/property $(ARGS)

soak: .venv/dev.stamp  ## hold the ten promises for SOAK steps (SEED=n: play again what broke)
	$(if $(SEED),SEED=$(SEED),SOAK=$(SOAK)) $(BIN)/python -m pytest -q -s --timeout=0 \
	  tests/property/test_promises_machine.py

crash: .venv/dev.stamp  ## kill KILLS daemons: nothing lost or done twice (SEED, STORE=postgres)
	$(BIN)/python -m tests.crash --kills $(KILLS) --seed $(or $(SEED),1) --store $(STORE)

chaos: .venv/dev.stamp  ## bring FAULTS to three replicas: nothing lost or done twice (SEED)
	@.ci/packages
	$(BIN)/python -m tests.crash.replicas --faults $(or $(FAULTS),500) --seed $(or $(SEED),1)

bench: .venv/dev.stamp  ## measure: table, bench-*.json (ARGS=--quick, --publish, "--only exec")
	@.ci/packages bench
	$(BIN)/python -m tests.bench $(ARGS)

clean:  ## remove the virtual environment and everything made by runs
	rm -rf .venv .run dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
	  .import_linter_cache .hypothesis
	find daemon tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/demo.stamp: pyproject.toml requirements.lock .ci/venv
	@.ci/venv demo

.venv/dev.stamp: pyproject.toml requirements.lock .ci/venv
	@.ci/venv demo dev
