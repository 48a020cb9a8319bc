#!/bin/sh
# Remove what an install has put below a prefix, by its manifest, and directories of libturbo's own that are empty then.
# usage: uninstall.sh MANIFEST PREFIX [DESTDIR]
set -eu
manifest=$1
prefix=$2
destdir=${3:-}
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
plain() { printf '%s\n' "$1" | sed 's,//*,/,g; s,\(.\)/$,\1,'; }
prefix=$(plain "$prefix")

again="run make install with the same PREFIX (and DESTDIR) again, then make uninstall"
if [ ! -e "$manifest" ]; then
  echo "libturbo: nothing tells what was installed; $again" >&2
  exit 1
fi
while IFS= read -r file || [ -n "$file" ]; do
  file=$(plain "$file")
  case $file in
    */../*) echo "libturbo: $file: not removed" >&2; exit 1 ;;
    "${prefix%/}"/*) ;;
    *) echo "libturbo: the last install was not to $prefix: $file; $again" >&2; exit 1 ;;
  esac
done <"$manifest"
while IFS= read -r file || [ -n "$file" ]; do
  rm -f "$destdir$file"
  dir=$(dirname "$destdir$file")
  case $dir in */turbo) rmdir "$dir" 2>/dev/null || true ;; esac # holds more for now, or others' files
done <"$manifest"
echo "libturbo: removed from $destdir$prefix"
