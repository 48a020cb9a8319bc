#!/bin/sh
# Install the library into a clean prefix and turbo_cffi into a fresh environment, then serve a request with them.
# usage: cffi.sh BUILD_DIR PYTHON
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
work=$(cd "$1" && pwd)/cffi-package-test
rm -rf "$work"
mkdir -p "$work"
cmake --install "$1" --prefix "$work/prefix" >/dev/null
"$2" -m venv "$work/venv"
cp -r "$root/bindings/cffi" "$work/source" # nothing is built in the tree
rm -rf "$work/source/build"

# By TURBO_PREFIX, and by pkg-config; each module must use the library of this prefix.
check() {
  (cd / && "$work/venv/bin/python" "$here/get.py")
  module=$(cd / && "$work/venv/bin/python" -c 'import turbo_cffi._turbo as m; print(m.__file__)')
  if ldd "$module" | grep -q "$work/prefix/lib.*/libturbo.so.0"; then :; else
    echo "not linked to the installed library" >&2
    exit 1
  fi
  echo "turbo_cffi by $1: ok"
}
quiet="-q --disable-pip-version-check"
# shellcheck disable=SC2086
TURBO_PREFIX=$work/prefix "$work/venv/bin/pip" install $quiet "$work/source"
check TURBO_PREFIX
rm -rf "$work/source/build"
# shellcheck disable=SC2086
env -u TURBO_PREFIX PKG_CONFIG_PATH="$(dirname "$(find "$work/prefix" -name turbo.pc)")" \
  "$work/venv/bin/pip" install $quiet --force-reinstall --no-deps "$work/source"
check pkg-config
