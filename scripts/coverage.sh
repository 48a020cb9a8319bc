#!/bin/sh
# Line coverage of libturbo/ by all tests: ctest (unit, conformance, the C demo) and the end-to-end tests against the
# C demo, in a build of its own. Prints a line a file, the lowest last; ends with 1 below the share given.
# usage: coverage.sh [PERCENT]
set -eu
cd "$(dirname "$0")/.."
least=${1:-0}
dir=build/coverage
mkdir -p build
# Many threads count: without atomic updates counters get lost, and may even become negative.
if ! cmake -S . -B $dir -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="--coverage -fprofile-update=atomic" \
  >build/coverage.log 2>&1 || ! cmake --build $dir >>build/coverage.log 2>&1; then
  cat build/coverage.log >&2
  exit 1
fi
find $dir -name '*.gcda' -delete
status=0
ctest --test-dir $dir -E '^(package|lint|abi)' --output-on-failure >build/coverage-ctest.log 2>&1 || status=$?
tail -n 4 build/coverage-ctest.log
if [ -d tests/e2e ] && build/venv/bin/python -c 'import pytest' 2>/dev/null; then
  TURBO_DEMO=$PWD/$dir/examples/demo TURBO_EXAMPLES=$PWD/$dir/examples TURBO_E2E_KINDS=shards,inline,io0 \
    timeout 900 build/venv/bin/python -m pytest -q -p no:cacheprovider tests/e2e \
    >build/coverage-e2e.log 2>&1 || status=$?
  tail -n 1 build/coverage-e2e.log
else
  echo "coverage.sh: without the end-to-end tests: scripts/venv.sh test installs what they need" >&2
fi
[ $status = 0 ] || echo "coverage.sh: some tests failed (build/coverage-ctest.log, build/coverage-e2e.log)" >&2
python3 scripts/coverage.py $dir "$least"
