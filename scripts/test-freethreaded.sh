#!/bin/sh
# The Python binding's tests on a free-threaded CPython, twice: as it is, where importing turbo turns the GIL on, and with
# the GIL kept off. usage: test-freethreaded.sh
set -eu
cd "$(dirname "$0")/.."
sh scripts/deps.sh freethreaded
python=$(sh scripts/python-freethreaded.sh)
PYTHON=$python sh scripts/venv.sh test venv-3.13t
rc=0
for gil in 1 0; do
  echo "libturbo: bindings/python/tests on $python, GIL $gil"
  # With 1, CPython would not tell that turbo is what turns it on.
  if [ $gil = 1 ]; then unset PYTHON_GIL; else export PYTHON_GIL=0; fi
  timeout 600 build/venv-3.13t/bin/python -X faulthandler -m pytest -q -p no:cacheprovider bindings/python/tests || rc=1
done
exit $rc
