# Everything happens in one virtual environment, .venv, with the pinned versions of requirements.lock.
#
#   make demo        set up, run the demo campaign, say where the report is
#   make test        set up, then lint, format check, types, tests (under 15 minutes on 2 cores)
#   make test-slow   the long proofs: the whole demo, kills, resumes
#   make bench       all benchmarks (most of an hour on a quiet machine); benchmarks/README.md has them one by one
#   make test-data   checks against real recordings in ../shared/data (fails where they are absent)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: setup demo test test-slow slow-realtime slow-computing test-data lint types lock bench clean help

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wattproof needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) with the versions of requirements.lock (about two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# `flock` keeps two demos apart; a lock that a killed Snakemake left behind can then be removed safely.
demo: setup
	@mkdir -p results
	@flock --nonblock --close --conflict-exit-code 75 results/.demo.lock \
	  sh -c 'test -z "$$(ls .snakemake/locks 2>/dev/null)" || snakemake --unlock --quiet all >/dev/null 2>&1; exec snakemake' \
	  || { code=$$?; test $$code -ne 75 || echo "Another 'make demo' is running in this folder; wait for it."; exit $$code; }
	@echo
	@echo "The report is in $(CURDIR)/results/demo/report.html"

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

types: setup
	mypy

# Many tests wait for real processes: three at a time keep two cores busy. What fails there has to
# pass when it runs alone; both outcomes are printed.
ALONE = { test $$? -eq 1 && echo "Once more, alone, what failed beside other tests:" && pytest --last-failed --last-failed-no-failures none

test: lint types
	pytest -m "not slow and not data" -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS) || $(ALONE) -m "not slow and not data" $(PYTEST_FLAGS); }

# What takes long without computing (soaks) runs beside what computes; each prints when it ends.
test-slow: setup
	@$(MAKE) --no-print-directory -j2 --output-sync=target slow-realtime slow-computing

slow-realtime:
	pytest -m "slow and realtime" -n 2 --dist loadfile $(PYTEST_FLAGS)

slow-computing:
	pytest -m "slow and not realtime" $(PYTEST_FLAGS)

test-data: setup
	WATTPROOF_REQUIRE_REAL_DATA=1 pytest -m data $(PYTEST_FLAGS)

bench: setup
	python benchmarks/recorder/run.py
	python benchmarks/analysis/run.py
	python benchmarks/workflow/run.py
	snakemake --cores 2 --configfile config/campaigns/virtual_2000.yaml results/virtual_2000/benchmark
	python benchmarks/query/run.py

# Resolve the newest versions that fit together, then regenerate the conda files of envs/.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0
	build/lock/bin/pip install --quiet ".[workflow,train,surrogate,search,codecarbon,meters,slurm,dev]"
	build/lock/bin/pip freeze --exclude wattproof | sed 's/+cpu$$//' > requirements.lock
	$(PYTHON) envs/generate.py

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
