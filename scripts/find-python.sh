#!/bin/sh
# Print the path of a CPython of that version: on the PATH, or one of pyenv's that is not. usage: find-python.sh 3.9
for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python3; do
  if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" >/dev/null 2>&1; then
    command -v "$candidate"
    exit 0
  fi
done
echo "libturbo: Python $1 is not on this machine" >&2
exit 1
