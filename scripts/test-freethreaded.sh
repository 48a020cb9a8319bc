#!/bin/sh
# The Python binding's tests on free-threaded CPythons: as they are, where importing turbo leaves the GIL off, and with the GIL
# turned on; then many rounds of the stress of threads, without it. usage: test-freethreaded.sh [3.13t] [3.14t]
# Without a version: 3.13t. STRESS_ROUNDS: how many (20)
set -eu
cd "$(dirname "$0")/.."
sh scripts/deps.sh freethreaded
rc=0
for version in ${*:-3.13t}; do
  python=$(sh scripts/python-freethreaded.sh "$version") || { rc=1; continue; }
  PYTHON=$python sh scripts/venv.sh test "venv-$version"
  for gil in 0 1; do
    echo "libturbo: bindings/python/tests on $python, GIL $gil"
    # With 0, CPython is not asked to keep it off: nothing may turn it on.
    if [ $gil = 0 ]; then unset PYTHON_GIL; else export PYTHON_GIL=1; fi
    timeout 600 "build/venv-$version/bin/python" -X faulthandler -m pytest -q -p no:cacheprovider bindings/python/tests || rc=1
  done
  unset PYTHON_GIL
  echo "libturbo: the stress of threads on $python"
  STRESS_ROUNDS=${STRESS_ROUNDS:-20} timeout 1200 "build/venv-$version/bin/python" -X faulthandler -m pytest -q \
    -p no:cacheprovider bindings/python/tests/test_stress_threads.py || rc=1
done
exit $rc
