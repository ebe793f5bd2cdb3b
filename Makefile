# `make demo` runs the main job, `make test` the gate. Both set up .venv by themselves: with uv where it is
# installed, else with venv and pip.

VENV ?= .venv
# The first Python of version 3.11 or newer: another one by `make PYTHON=... VENV=...`.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := $(VENV)/bin
JOBS ?= auto
# The tests run side by side, each on one thread.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check docs curves bench clean

help: ## show the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.core ## run the demo experiment; report in results/demo/report.html
	$(BIN)/dealer run demo

test: check $(VENV)/.dev ## lint, type check, tests and doctests
	$(BIN)/python -m pytest -n $(JOBS)

check: $(VENV)/.dev ## lint and type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.core ## write docs/mechanisms.md from the classes
	(printf '# What a scenario can name\n\nWritten by `make docs` from the classes.\n\n'; $(BIN)/dealer list --markdown) > docs/mechanisms.md

# Ten classes take eight times as long, and their accuracy has a third of the noise.
curves: $(VENV)/.core ## calibrate the surrogate's curves that come with the package
	for data in breast_cancer iris synthetic digits; do for model in logistic svm; do \
	for neighbours in replace-one add-remove; do \
		$(BIN)/dealer calibrate demo --out simulator/privacy/curves/$$data-$$model-$$neighbours.json \
			--replicates $$(test $$data = digits && echo 16 || echo 40) --set data.source=$$data \
			--set broker.training.model=$$model --set broker.training.neighbours=$$neighbours || exit 1; \
	done; done; done

bench: $(VENV)/.dev ## run the benchmarks
	$(BIN)/python -m pytest tests/benchmarks -p no:xdist

clean: ## remove environments, caches and results
	rm -rf .venv* .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks results

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found" >&2; exit 1; }
	if command -v uv >/dev/null; then uv venv --python "$$(command -v $(PYTHON))" $(VENV); else $(PYTHON) -m venv $(VENV); fi
	touch $@

$(VENV)/.core: pyproject.toml $(VENV)/.python
	$(call install,-e .)
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.python
	$(call install,-e '.[dev]')
	touch $@ $(VENV)/.core

define install
if command -v uv >/dev/null; then VIRTUAL_ENV=$(VENV) uv pip install $(1); else $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); fi
endef
