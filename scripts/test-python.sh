#!/bin/bash
# Sourced by test.sh: the bindings' tests on the environment's Python.
run_pytest() { # name directory
  local log=build/pytest-$1.log
  timeout 600 build/venv/bin/python -m pytest -q -p no:cacheprovider "$2" 2>&1 | tee "$log"
  local ok bad
  ok=$(sed -n 's/.*[^0-9]\([0-9][0-9]*\) passed.*/\1/p; s/^\([0-9][0-9]*\) passed.*/\1/p' "$log" | tail -n 1)
  bad=$(sed -n 's/^.*\b\([0-9][0-9]*\) failed.*/\1/p' "$log" | tail -n 1)
  local err
  err=$(sed -n 's/^.*\b\([0-9][0-9]*\) errors\{0,1\}.*/\1/p' "$log" | tail -n 1)
  passed=$((passed + ${ok:-0}))
  failed=$((failed + ${bad:-0} + ${err:-0}))
  if [ -z "$ok$bad$err" ]; then count "pytest $1" 1; fi
}

sh scripts/venv.sh test
count "python environment" $?
if [ -x build/venv/bin/python ]; then
  run_pytest turbo bindings/python/tests
  run_pytest turbo_cffi bindings/cffi/tests
  sh tests/package/cffi.sh build/release build/venv/bin/python
  count "turbo_cffi from a clean prefix" $?
fi
