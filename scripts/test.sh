#!/bin/bash
# Every test: gcc release, gcc ASan+UBSan and gcc TSan by ctest, clang compiles, the bindings by pytest. Ends with the
# totals.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0
names="" # of what failed, a line each: the last lines say them again
mkdir -p build

say() { printf '\n== %s\n' "$*"; }

name() { [ -z "$1" ] || names+="$1"$'\n'; }

count() { # name status
  if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; name "$1"; fi
}

# Run ctest for a preset and add up its own counts.
run_ctest() {
  local log=build/ctest-$1.log
  rm -f build/sanitizer.*
  # io_sync=0: that two threads use sockets must not count as order between them.
  ASAN_OPTIONS=log_path=$PWD/build/sanitizer:detect_leaks=1 UBSAN_OPTIONS=log_path=$PWD/build/sanitizer:print_stacktrace=1 \
    TSAN_OPTIONS=log_path=$PWD/build/sanitizer:halt_on_error=1:second_deadlock_stack=1:io_sync=0 \
    ctest --preset "$1" 2>&1 | tee "$log"
  local total bad
  total=$(sed -n 's/.*tests failed out of \([0-9]*\).*/\1/p' "$log")
  bad=$(sed -n 's/.*, \([0-9]*\) tests failed out of .*/\1/p' "$log")
  if [ -z "$total" ]; then count "ctest $1" 1; return; fi
  passed=$((passed + total - bad))
  failed=$((failed + bad))
  name "$(sed -n "s/^[[:space:]]*[0-9]* - \([^ ]*\) (.*/$1: \1/p" "$log")"
  # Criterion counts a leak report as a pass, so the reports themselves are the judge.
  if ls build/sanitizer.* >/dev/null 2>&1; then
    cat build/sanitizer.*
    count "sanitizer reports in $1" 1
  fi
}

for preset in release asan tsan; do
  say "$preset: build and test"
  sh scripts/build.sh $preset -DTURBO_WERROR=ON -DTURBO_TESTS=ON
  count "build $preset" $?
  run_ctest $preset
done

# The same answers with another llhttp than the system's. A build that has the same one after all proves nothing.
run_llhttp9() {
  local sources system other
  sources=$(sh scripts/llhttp.sh)
  count "fetch llhttp 9" $?
  [ -n "$sources" ] || return
  sh scripts/build.sh llhttp9 -DTURBO_WERROR=ON -DTURBO_TESTS=ON "-DLLHTTP_SOURCE_DIR=$sources"
  count "build llhttp9" $?
  run_ctest llhttp9
  system=$(build/release/tests/conformance/llhttp_version)
  other=$(build/llhttp9/tests/conformance/llhttp_version)
  echo "llhttp: ${system:-?} in build/release, ${other:-?} in build/llhttp9"
  [ -n "$system" ] && [ -n "$other" ] && [ "$system" != "$other" ]
  count "two versions of llhttp" $?
  TURBO_DEMO=$PWD/build/llhttp9/examples/demo python3 tests/http1/battery.py --demo c-shards --brief
  count "RFC 9110 and 9112, c-shards with llhttp $other" $?
}

say "llhttp 9: build, and test what has to do with HTTP"
run_llhttp9

say "clang: compiles"
sh scripts/build.sh clang -DTURBO_WERROR=ON -DTURBO_TESTS=OFF
count "build clang" $?

if [ -f scripts/test-python.sh ]; then
  say "bindings"
  . scripts/test-python.sh
fi

[ -z "$names" ] || printf '\nFAILED:\n%s' "$names"
printf '\n%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
