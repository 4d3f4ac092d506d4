#!/usr/bin/env bash
# What is too long for every change: the demo, the slow tests (the documents' commands among them), chaos, browser and GPU
# tests, and both load users for MINUTES (10) on the demo's suite with the limits of loadtests/locustfile.py. About two hours.
# Each runs whatever became of the one before; the exit code says whether all went well. Options go to Locust:
#   deploy/nightly.sh --max-ads-p99-ms 50
set -uo pipefail
cd "$(dirname "$0")/.." || exit
failed=()
run() { printf '\033[1m%s\033[0m\n' "$*" >&2; "$@" || failed+=("$*"); }

run deploy/demo.sh
run command -v chromium # without it the browser tests are skipped
run .venv/bin/pytest -m "slow or chaos or browser or gpu"

export SKIM_HOME=.skim/demo
run .venv/bin/skim up
run .venv/bin/locust -f loadtests/locustfile.py --headless -u 20 -r 5 -t "${MINUTES:-10}m" "$@"
run .venv/bin/skim down

for each in "${failed[@]}"; do printf 'nightly: failed: %s\n' "$each" >&2; done
[ ${#failed[@]} -eq 0 ]
