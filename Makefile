# Two commands matter: `make run` (the whole system on this machine) and `make test` (what proves it works).
# Environments are made from the locked requirements and made again only when a lock has changed.

PYTHON ?= python3
# Settings may be given as `make run ARTSTORE_WEB_PORT=9000`; make exports what the command line sets.
PIP_INSTALL = -m pip --disable-pip-version-check -qq install --require-hashes --no-deps
RUN_LOCKS = requirements/django.lock requirements/node.lock requirements/embedded.lock
DEV_LOCKS = $(RUN_LOCKS) requirements/test.lock requirements/dev.lock
NODE_LOCKS = requirements/node.lock requirements/test.lock
RUN_STAMP = .venv/.run-installed
DEV_STAMP = .venv/.dev-installed
NODE_STAMP = .venv-node/.installed
# What the checks read of Django needs settings that load; nothing connects anywhere with these.
CHECK_SETTINGS = ARTSTORE_SECRET_KEY=check ARTSTORE_DIGEST_KEY=check ARTSTORE_KEY_ENCRYPTION_KEYS=check \
	DATABASE_URL=postgresql://check/check DJANGO_SETTINGS_MODULE=artstore.settings
# Most tests wait for a process or a disk, so two workers on two cores; a module stays in one of them.
SIDE_BY_SIDE = -n 2 --dist
GUARDS = test_layers test_sizes test_docs test_schema test_error_shape test_console_messages

.DEFAULT_GOAL := help
CHECKS = check-style check-types check-migrations check-guards
.PHONY: help run up down status manage test test-django test-node check $(CHECKS) drill bench screenshots messages schema lock clean browser

help:
	@echo "make run          the whole system in the foreground; Ctrl-C stops it"
	@echo "make up, down     the same in the background; make status tells"
	@echo "make manage ARGS='create_service_account ci --scope files:read'   an operator's command"
	@echo "make test         everything that proves it works; make check   style, types, guards"
	@echo "make drill, bench long durability and load drills; measurements"
	@echo "make screenshots, messages, schema, lock, clean"

# --- environments -----------------------------------------------------------------------------

define new-environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "ArtStore needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
		echo "Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Preparing $(1) from the locked requirements (once, until they change)"
	@$(PYTHON) -m venv --clear $(1)
endef

$(RUN_STAMP): $(RUN_LOCKS)
	$(call new-environment,.venv)
	@.venv/bin/python $(PIP_INSTALL) $(addprefix -r ,$(RUN_LOCKS))
	@touch $@

$(DEV_STAMP): $(DEV_LOCKS) $(RUN_STAMP)
	@echo "Adding what the tests need"
	@.venv/bin/python $(PIP_INSTALL) $(addprefix -r ,$(DEV_LOCKS))
	@touch $@

$(NODE_STAMP): $(NODE_LOCKS)
	$(call new-environment,.venv-node)
	@.venv-node/bin/python $(PIP_INSTALL) $(addprefix -r ,$(NODE_LOCKS))
	@touch $@

# --- the system -------------------------------------------------------------------------------

run: $(RUN_STAMP)
	@exec .venv/bin/python -m artstore.embedded run

up down status: $(RUN_STAMP)
	@.venv/bin/python -m artstore.embedded $@

manage: $(RUN_STAMP)
	@.venv/bin/python -m artstore.embedded manage $(ARGS)

# --- proof ------------------------------------------------------------------------------------

test: test-node test-django

test-django: $(DEV_STAMP) browser
	.venv/bin/python -m pytest -q $(SIDE_BY_SIDE) loadgroup -m "not drill"

# In its own environment: requirements/node suffices, and there is no Django to lean on.
test-node: $(NODE_STAMP)
	.venv-node/bin/python -m pytest -q -c storage_node/pytest.ini --rootdir storage_node $(SIDE_BY_SIDE) loadfile -m "not drill" storage_node

# Each check runs whatever the others say, so that one look shows everything.
check: $(DEV_STAMP)
	@$(MAKE) --no-print-directory --keep-going $(CHECKS)

check-style: $(DEV_STAMP)
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

check-types: $(DEV_STAMP)
	$(CHECK_SETTINGS) .venv/bin/mypy artstore apps storage_node

check-migrations: $(DEV_STAMP)
	@# It would also compare with the tables of a database; the settings name none.
	$(CHECK_SETTINGS) .venv/bin/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run --skip-checks

# Layers, sizes, docs, schema drift, error shape, catalogues: tests, because each shows that it can fail.
check-guards: $(DEV_STAMP)
	.venv/bin/python -m pytest -q $(GUARDS:%=artstore/tests/%.py)

drill: $(DEV_STAMP) $(NODE_STAMP)
	.venv-node/bin/python -m pytest -c storage_node/pytest.ini --rootdir storage_node -m drill storage_node
	.venv/bin/python -m pytest -m drill

# Every measurement is a module of bench/ that can also be run alone: python -m bench.<name>
# nginx, wrk and curl are what it is measured against and with: apt-get install nginx-light wrk curl
bench: $(DEV_STAMP)
	.venv/bin/python -m bench.runner $(ARGS)

screenshots: $(DEV_STAMP) browser
	.venv/bin/python -m pytest -q -m browser artstore/tests/test_console_screenshots.py --screenshots docs/screenshots

# A Chromium on the PATH, or Debian's if it can be installed; else the browser tests are skipped and say so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing Chromium for the browser tests"; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
				>/dev/null 2>&1 || true; \
		fi; \
		command -v chromium >/dev/null 2>&1 || echo "No Chromium: the browser tests will be skipped. Install chromium to run them."; }

# --- upkeep -----------------------------------------------------------------------------------

messages: $(DEV_STAMP)
	$(CHECK_SETTINGS) .venv/bin/python -m artstore.catalogue

lock: $(DEV_STAMP)
	PATH="$(CURDIR)/.venv/bin:$$PATH" requirements/lock.sh

# The data in var/ stays: it is not ours to throw away.
clean:
	rm -rf .venv .venv-node .mypy_cache .ruff_cache .pytest_cache .hypothesis staticfiles test-artifacts
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
