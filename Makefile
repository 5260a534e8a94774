# Everything a developer does here. `make` alone says what there is.
# System programs that some of it needs: CONTRIBUTING.md.

BIN := .venv/bin
WORKERS ?= 4
ARGS ?=
export PYTHON

.PHONY: help setup sdk-venv demo test check format bench lock clean

help:
	@echo 'make setup     make .venv with everything in it (the other targets do it by themselves)'
	@echo 'make demo      an engine and its workers on this machine; asks them something and stays up until Ctrl-C'
	@echo 'make test      all checks and all tests              (ARGS="-k name": some of them; WORKERS=2: fewer at once)'
	@echo 'make check     style and types, no tests'
	@echo 'make format    put the code in order'
	@echo 'make bench     side by side with other proxies, nginx too when it is installed'
	@echo 'make lock      take the newest dependencies and write requirements/*.txt anew'
	@echo 'make sdk-venv  make .venv-sdk with the SDK that clients use, for tests and benchmarks'
	@echo 'make clean     remove what these commands made'
	@echo
	@echo 'PYTHON=/path/to/python3 says which Python to use (3.11 or newer).'

setup:
	@scripts/make-venv main

sdk-venv:
	@scripts/make-venv sdk

demo: setup
	@$(BIN)/python -m workers.hello_world.demo $(ARGS)

test: check sdk-venv
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup sdk-venv
	PYWORKER_SDK_PYTHON="$${PYWORKER_SDK_PYTHON:-$$PWD/.venv-sdk/bin/python}" $(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.engine_decisions
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.client

lock: setup
	@scripts/lock

clean:
	rm -rf .venv .venv-sdk dist .pytest_cache .ruff_cache .hypothesis benchmarks/.work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
