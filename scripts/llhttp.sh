#!/bin/sh
# The C sources of another llhttp than the system's, from the source distribution that PyPI has: fetched and unpacked
# into build/ once. Prints their directory, for -DLLHTTP_SOURCE_DIR=. usage: llhttp.sh [VERSION]
set -eu
cd "$(dirname "$0")/.."
version=${1:-9.3.0.0}
sources=build/llhttp-$version
if [ ! -e "$sources.stamp" ]; then
  sh scripts/venv.sh test deps >&2
  rm -rf "$sources" "$sources.download"
  # pip looks at the metadata of what it downloads, for which it makes an environment of its own.
  build/venv/bin/pip download -q --disable-pip-version-check --no-binary llhttp --no-deps -d "$sources.download" \
    "llhttp==$version" >&2
  tar -xzf "$sources.download/llhttp-$version.tar.gz" -C build
  for file in api.c http.c llhttp.c llhttp.h; do
    if [ ! -s "$sources/lib/$file" ]; then
      echo "llhttp.sh: the source distribution of llhttp $version has no lib/$file" >&2
      exit 1
    fi
  done
  rm -rf "$sources.download"
  touch "$sources.stamp"
fi
echo "$PWD/$sources/lib"
