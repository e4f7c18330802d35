# Everything works from a bare clone: each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo run test soak vm-test check bench lock nix-check clean

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

soak: install  ## two hours of twenty agents in bad weather, in a minute or two; SEED=n plays them again
	@$(BIN)/python tests/long_run.py $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))
vm-test: install  ## what wants a real systemd host, in an emulated guest; takes a quarter of an hour, and root
	@scripts/vm-test $(PYTEST_ARGS)

check: install  ## format, lint, types, imports, docs
	@scripts/check

bench: install  ## one table of figures with ratios; BENCH_ARGS goes to the runner
	@$(BIN)/python -m bench $(BENCH_ARGS)

lock: install  ## write the lock files anew from pyproject.toml
	@scripts/lock

nix-check: install  ## NIXPKGS=DIR: the tests of the NixOS modules with a real nixpkgs in place of the stand-in
	@NIXPKGS="$(NIXPKGS)" scripts/nix-check $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
