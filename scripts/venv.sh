#!/bin/sh
# A Python environment build/NAME with the package turbo in it, built against the library in build/stage. Does only what
# has changed since the last time. usage: venv.sh [test] [plots] [models] [deps] [NAME]
# test: also what the tests need; plots: also what draws; models: also what examples/predict.py can serve; deps: only what
# comes from PyPI; NAME: venv; PYTHON chooses the interpreter
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
tests=no
plots=no
models=no
build=yes
name=venv
for word in "$@"; do
  case $word in
    test) tests=yes ;;
    plots) plots=yes ;;
    models) models=yes ;;
    deps) build=no ;;
    *) name=$word ;;
  esac
done
venv=build/$name
mkdir -p build

# Newer than its stamp? usage: changed STAMP PATH ...
changed() {
  stamp=$1
  shift
  [ ! -e "$stamp" ] || [ -n "$(find "$@" -newer "$stamp" -type f ! -path '*/__pycache__/*' ! -path '*/.pytest_cache/*' ! -path '*/tests/*' 2>/dev/null | head -n 1)" ]
}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
  echo "libturbo: $python is missing or older than Python 3.9; set PYTHON=" >&2
  exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
  echo "libturbo: making $venv"
  rm -f "$venv".*.stamp
  "$python" -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check --upgrade pip
fi
# Packages may have no build for this one.
freethreaded=no
if "$venv/bin/python" -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))'; then
  freethreaded=yes
fi

# Packages from PyPI. On a free-threaded build one by one, and those that cannot be had are said and left out: turbo needs
# none of them, tests that do are skipped. usage: install PACKAGE ...
install() {
  echo "libturbo: installing $* into $venv"
  if [ $freethreaded = no ]; then
    "$venv/bin/pip" install -q --disable-pip-version-check "$@"
    return
  fi
  for package in "$@"; do
    "$venv/bin/pip" install -q --disable-pip-version-check "$package" >"$venv.$package.log" 2>&1 ||
      echo "libturbo: $package could not be installed for this free-threaded Python, see $venv.$package.log"
  done
}

if [ ! -e "$venv.deps.stamp" ]; then
  install uvloop orjson
  touch "$venv.deps.stamp"
fi
if [ $tests = yes ] && { [ ! -e "$venv.test.stamp" ] || [ scripts/venv.sh -nt "$venv.test.stamp" ]; }; then
  install pytest httpx aiohttp anyio cffi setuptools mypy numpy
  touch "$venv.test.stamp"
fi
if [ $plots = yes ] && [ ! -e "$venv.plots.stamp" ]; then
  echo "libturbo: installing matplotlib into $venv"
  "$venv/bin/pip" install -q --disable-pip-version-check matplotlib
  touch "$venv.plots.stamp"
fi
if [ $models = yes ] && [ ! -e "$venv.models.stamp" ]; then
  install numpy scikit-learn
  touch "$venv.models.stamp"
fi
[ $build = yes ] || exit 0
if changed build/stage.stamp build/release/libturbo/libturbo.so.0.1.0 include; then
  cmake --install build/release --prefix "$PWD/build/stage" >build/stage.log
  touch build/stage.stamp
fi
sources="bindings/python/src bindings/python/pyproject.toml bindings/python/CMakeLists.txt build/stage/include"
# shellcheck disable=SC2086
if changed "$venv.turbo.stamp" $sources; then
  echo "libturbo: building the package turbo into $venv"
  TURBO_PREFIX=$PWD/build/stage "$venv/bin/pip" install -q --disable-pip-version-check "./bindings/python"
  touch "$venv.turbo.stamp"
fi
if [ $tests = yes ] && { [ $freethreaded = no ] || "$venv/bin/python" -c 'import cffi' 2>/dev/null; } &&
  changed "$venv.cffi.stamp" bindings/cffi/src bindings/cffi/setup.py bindings/cffi/pyproject.toml \
    build/stage/include; then
  echo "libturbo: building the package turbo_cffi into $venv"
  rm -rf bindings/cffi/build # setuptools does not see that a header has changed
  TURBO_PREFIX=$PWD/build/stage "$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps \
    ./bindings/cffi
  touch "$venv.cffi.stamp"
fi
