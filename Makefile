# Everything works from a bare clone: each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo run test vm-test check bench lock clean

install: $(STAMP)

$(STAMP): requirements/lock.txt requirements/uv.txt pyproject.toml hatch_build.py scripts/install
	@PYTHON=$(PYTHON) scripts/install $(VENV)
	@touch $@

demo: install  ## play a scenario with three agents; DEMO_ARGS goes to `hive demo`
	@$(BIN)/hive demo $(DEMO_ARGS)

run: install  ## start the daemon in the foreground
	@$(BIN)/hive serve

test: install  ## everything this machine can run; PYTEST_ARGS goes to pytest
	@scripts/test $(PYTEST_ARGS)

vm-test: install  ## what wants a real systemd host, in an emulated guest; takes a quarter of an hour, and root
	@scripts/vm-test $(PYTEST_ARGS)

check: install  ## format, lint, types, imports, docs
	@scripts/check

bench: install  ## one table of figures with ratios; BENCH_ARGS goes to the runner
	@$(BIN)/python -m bench $(BENCH_ARGS)

lock: install  ## write the lock files anew from pyproject.toml
	@scripts/lock

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
