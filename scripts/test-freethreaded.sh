#!/bin/sh
# The Python binding's tests on free-threaded CPythons: as they are, where importing turbo leaves the GIL off, and with the GIL
# turned on; then many rounds of the stress of threads, without it. With -tsan only the stress: CPython, turbo and libturbo are made
# with ThreadSanitizer, and any report fails. usage: test-freethreaded.sh [3.13t] [3.14t] [3.14t-tsan]
# Without a version: 3.13t. STRESS_ROUNDS: how many (20; with -tsan 3)
set -eu
cd "$(dirname "$0")/.."

# usage: run SECONDS VENV ARGUMENT_OF_PYTEST ...
run() {
  limit=$1 venv=$2
  shift 2
  timeout "$limit" "$venv/bin/python" -X faulthandler -m pytest -q -p no:cacheprovider "$@"
}

test_all() {
  PYTHON=$python sh scripts/venv.sh test "venv-$version"
  for gil in 0 1; do
    echo "libturbo: bindings/python/tests on $python, GIL $gil"
    # With 0, CPython is not asked to keep it off: nothing may turn it on.
    if [ $gil = 0 ]; then unset PYTHON_GIL; else export PYTHON_GIL=1; fi
    run 600 "build/venv-$version" bindings/python/tests || rc=1
  done
  unset PYTHON_GIL
  echo "libturbo: the stress of threads on $python"
  STRESS_ROUNDS=${STRESS_ROUNDS:-20} run 1200 "build/venv-$version" bindings/python/tests/test_stress_threads.py || rc=1
}

stress_with_tsan() {
  venv=build/venv-$version stage=$PWD/build/stage-tsan
  export TSAN_OPTIONS=report_bugs=0
  sh scripts/build.sh tsan
  cmake --install build/tsan --prefix "$stage" >build/stage-tsan.log
  [ -x "$venv/bin/pytest" ] || { "$python" -m venv "$venv" && "$venv/bin/pip" install -q pytest; }
  CFLAGS="-fsanitize=thread -g -O1" TURBO_PREFIX=$stage "$venv/bin/pip" install -q --force-reinstall ./bindings/python
  echo "libturbo: the stress of threads on $python, with ThreadSanitizer"
  rm -f build/tsan-report.*
  # Some tests capture standard error, so reports go to files.
  TSAN_OPTIONS="suppressions=${python%/bin/*}/suppressions.txt log_path=$PWD/build/tsan-report" \
    STRESS_ROUNDS=${STRESS_ROUNDS:-3} run 1200 "$venv" bindings/python/tests/test_stress_threads.py || rc=1
  unset TSAN_OPTIONS
  for report in build/tsan-report.*; do
    [ -e "$report" ] || continue
    cat "$report"
    rc=1
  done
}

sh scripts/deps.sh freethreaded
rc=0
for version in ${*:-3.13t}; do
  python=$(sh scripts/python-freethreaded.sh "$version") || { rc=1; continue; }
  case $version in
    *-tsan) stress_with_tsan ;;
    *) test_all ;;
  esac
done
exit $rc
