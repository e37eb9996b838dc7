# vnedoc: every target makes the virtual environment it needs, from Python and PyPI alone.

PYTHON ?= python3
DEMO   := .venv/demo
DEV    := .venv/dev
SOURCE := $(shell find vnedoc tests examples docs -type f -not -name '*.pyc' 2>/dev/null) pyproject.toml README.md

.PHONY: demo test check fix bench fuzz crash-matrix docs documents clean

demo: $(DEMO)/ready  ## The whole story on this machine: sign, send, verify, answer.
	$(DEMO)/bin/vnedoc demo

test: $(DEV)/ready  ## All tests, with coverage.
	$(DEV)/bin/coverage erase
	$(DEV)/bin/python -m pytest -n auto --dist worksteal --cov --cov-report=
	@touch $(DEV)/tested

check: $(DEV)/ready $(DEV)/tested  ## Format, lint, types, import rules, tests, coverage.
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports
	$(DEV)/bin/coverage report --fail-under=90

fix: $(DEV)/ready  ## Format and mend what can be mended.
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

bench: $(DEV)/ready  ## Ratios and peak memory against other implementations, in one run.
	$(DEV)/bin/python -m tests.benchmarks

fuzz: $(DEV)/ready  ## Some minutes of damaged files for every reader.
	$(DEV)/bin/python -m tests.fuzz --seconds 120

crash-matrix: $(DEV)/ready  ## Kill processes at every step, on both databases; writes the table of the page.
	$(DEV)/bin/python -m tests.crashes
	VNEDOC_MACHINE_EXAMPLES=200 $(DEV)/bin/python -m pytest -q tests/integration/test_exchange_machine.py

docs: $(DEV)/ready  ## Write the references that are made from the code.
	$(DEV)/bin/python -m tests.surface.cli_reference
	$(DEV)/bin/python -m tests.surface.findings_reference
	$(DEV)/bin/python -m tests.surface.hub_api_reference

documents: $(DEV)/ready  ## Make the demo's PDFs again from their sources (needs LibreOffice).
	$(DEV)/bin/python examples/documents/build.py

clean:
	rm -rf .venv .coverage .coverage.* vnedoc-demo

# Tests are run again by `check` only when something changed since they last passed.
$(DEV)/tested: $(SOURCE) | $(DEV)/ready
	$(MAKE) test

$(DEMO)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[server]'
	@touch $@

$(DEV)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check --group dev --editable '.[server,soap,pkcs11,postgresql,s3,cluster]'
	@touch $@
