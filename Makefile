# Two commands do all their own set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
WORKERS ?= 2

.PHONY: help setup demo test test-slow compose-test faults bench lint clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## make .venv with everything in it, under the tested versions
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 13) else "fellrec needs Python 3.11 or 3.12; this is " + sys.version.split()[0] + ". Use make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade-strategy only-if-needed -c constraints.txt -e '.[embedded,dev]'
	@touch $(STAMP)

demo: setup ## train five clients on the sample set, then recommend (two and a half minutes on two cores)
	$(VENV)/bin/fellrec demo

test: setup ## all tests, two at a time
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

test-slow: setup ## long tables, a hundred rounds, a capture, the browser, and the pages' commands in Flower itself
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -m slow

compose-test: setup ## the compose file in a docker engine: runs over three nodes on real data, and faults (root, half an hour)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -m compose tests/deploy

faults: setup ## real processes on loopback, killed at each phase of a round (half an hour)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -m faults tests/faults

bench: setup ## benchmarks in their quick form, a minute each
	@for name in split_step batching transport cut_cost recovery sessions hostile poison recommend epsilon start_up; do $(VENV)/bin/python -m benchmarks.$$name || exit 1; done

lint: setup ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean: ## remove the environment
	rm -rf $(VENV)
