#!/bin/bash
# Sourced by test.sh: the bindings' tests on each Python that is supported at both ends, and the end-to-end tests.
skipped=0

# A number in pytest's last line. usage: pytest_count LOG passed|failed|skipped|errors?
pytest_count() { tail -n 1 "$1" | sed -nE "s/^(.*[^0-9])?([0-9]+) ($2)( .*|,.*)?$/\2/p"; }

run_pytest() { # name python directory_or_file...
  local log=build/pytest-$1.log status ok bad err out
  timeout 1200 "$2" -m pytest -q -p no:cacheprovider -rsfE "${@:3}" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  ok=$(pytest_count "$log" passed)
  bad=$(pytest_count "$log" failed)
  err=$(pytest_count "$log" 'errors?')
  out=$(pytest_count "$log" skipped)
  passed=$((passed + ${ok:-0}))
  failed=$((failed + ${bad:-0} + ${err:-0}))
  skipped=$((skipped + ${out:-0}))
  name "$(sed -nE "s/^(FAILED|ERROR) (.*)/$1: \2/p" "$log")"
  # Also what pytest itself does not count as a failure: a time-out, a crash, no tests at all.
  if [ "$status" != 0 ] && [ -z "$bad$err" ]; then count "pytest $1 (status $status)" 1; fi
}

# The C demo under AddressSanitizer; a report fails the run, whatever the test that provoked it says.
run_e2e_asan() {
  rm -f build/sanitizer.*
  ASAN_OPTIONS=log_path=$PWD/build/sanitizer:detect_leaks=1 \
    UBSAN_OPTIONS=log_path=$PWD/build/sanitizer:print_stacktrace=1 \
    TURBO_DEMO=$PWD/build/asan/examples/demo TURBO_E2E_KINDS=shards,inline,io0,hop \
    run_pytest e2e-asan build/venv/bin/python tests/e2e
  if ls build/sanitizer.* >/dev/null 2>&1; then
    cat build/sanitizer.*
    count "sanitizer reports in e2e-asan" 1
  fi
}

# The package by its own types, and those of the C module by what it has.
run_types() {
  build/venv/bin/python -m mypy --config-file bindings/python/pyproject.toml bindings/python/src/turbo
  count "mypy" $?
  build/venv/bin/python -m mypy.stubtest turbo._native --concise --allowlist bindings/python/tests/stubtest-allowlist.txt
  count "mypy.stubtest" $?
}

run_version() { # 3.9 [file...]: without, all
  local python files=("${@:2}")
  python=$(sh scripts/find-python.sh "$1" 2>/dev/null)
  if [ -z "$python" ]; then
    echo "SKIPPED: the bindings' tests on Python $1, which is not on this machine"
    skipped=$((skipped + 1))
    return
  fi
  PYTHON=$python sh scripts/venv.sh test "venv-$1"
  count "python $1 environment" $?
  [ ! -e "build/venv-$1.test.stamp" ] || run_pytest "turbo-$1" "build/venv-$1/bin/python" "${files[@]:-bindings/python/tests}"
}

sh scripts/venv.sh test
count "python environment" $?
if [ -e build/venv.test.stamp ]; then
  run_pytest turbo build/venv/bin/python bindings/python/tests
  run_pytest turbo_cffi build/venv/bin/python bindings/cffi/tests
  run_types
  sh tests/package/cffi.sh build/release build/venv/bin/python
  count "turbo_cffi from a clean prefix" $?
  say "end to end: release"
  run_pytest e2e build/venv/bin/python tests/e2e
  say "end to end: asan"
  run_e2e_asan
fi
if [ -e build/venv.test.stamp ]; then
  say "the sweep's own test"
  run_pytest bench build/venv/bin/python tests/bench
  say "faults: system calls and allocations that fail"
  run_pytest faults build/venv/bin/python tests/faults
  ASAN_OPTIONS=detect_leaks=1 TURBO_FAULTY_DEMO=$PWD/build/asan/tests/faults/faulty_demo \
    run_pytest faults-asan build/venv/bin/python tests/faults
  say "chaos, each demo"
  timeout 300 python3 tests/chaos/chaos.py --seconds 6 --bad 2
  count "chaos" $?
  timeout 300 python3 tests/chaos/chaos.py --asan --demos shards,inline,io0 --seconds 6 --bad 2
  count "chaos, asan" $?
  say "workers replaced and killed under load"
  timeout 300 python3 tests/chaos/processes.py --runs 1 --events 12 --seconds 4
  count "chaos of processes" $?
  say "SIGTERM under load, each demo"
  timeout 300 python3 tests/chaos/stop.py --runs 3
  count "stop under load" $?
  timeout 300 python3 tests/chaos/handover.py --runs 3
  count "handover under load" $?
  say "HTTP/1.1 over raw sockets, each demo"
  python3 tests/http1/selftest.py
  count "the battery's own test" $?
  for kind in c-shards c-inline c-io0 python; do
    python3 tests/http1/battery.py --demo $kind --brief
    count "RFC 9110 and 9112, $kind" $?
  done
  say "the parser's text cases over sockets, cut everywhere, each demo"
  for kind in c-shards c-inline c-io0 python; do
    python3 tests/http1/replay.py --demo $kind
    count "text cases over sockets, $kind" $?
  done
fi
for version in 3.9 3.13; do
  say "bindings on Python $version"
  run_version $version
done
say "tasks and the GIL on Python 3.12"
run_version 3.12 bindings/python/tests/test_tasks.py bindings/python/tests/test_coroutines.py bindings/python/tests/test_gil.py
[ $skipped = 0 ] || printf '\n%d skipped\n' $skipped
