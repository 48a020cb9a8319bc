#!/bin/sh
# Configure and build a preset; the release preset's examples also get their fixed place. usage: build.sh PRESET [FLAGS]
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
mkdir -p build
log=build/$preset.log
if ! cmake --preset "$preset" "$@" >"$log" 2>&1 || ! cmake --build --preset "$preset" >>"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
if [ "$preset" = release ]; then
  rm -rf build/examples
  ln -s release/examples build/examples
fi
