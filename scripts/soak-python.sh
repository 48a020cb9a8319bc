#!/bin/sh
# A long run of the Python demo on each of some versions of Python. usage: soak-python.sh REQUESTS [3.9 ... 3.14t]
# Without a version: on build/venv. 3.13t and 3.14t: free-threaded ones, which are built when missing.
set -eu
cd "$(dirname "$0")/.."
requests=$1
shift
rc=0
if [ $# = 0 ]; then
  sh scripts/venv.sh
  exec "${PYTHON:-python3}" tests/soak/count.py --requests "$requests"
fi
for version in "$@"; do
  case $version in
    *t) python=$(sh scripts/python-freethreaded.sh "$version") || { rc=1; continue; } ;;
    *) python=$(sh scripts/find-python.sh "$version") || { rc=1; continue; } ;;
  esac
  PYTHON=$python sh scripts/venv.sh "venv-$version"
  python3 tests/soak/count.py --requests "$requests" --python "build/venv-$version/bin/python" || rc=1
done
exit $rc
