#!/usr/bin/env bash
# Set up and check everything: format, lint (ruff's security rules with it), types, import rules, shell scripts,
# compose file, tests (the review of the lock among them: tests/deploy/test_lock.py).
# Arguments go to pytest: deploy/test.sh -m slow -n 0 (-n: test files at once; a processor each, four at most, if not said).
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/setup.sh
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/lint-imports
.venv/bin/shellcheck deploy/*.sh .ci/run
.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
.venv/bin/pytest -n logical --maxprocesses 4 --dist loadfile "$@"
