#!/bin/sh
# Install into a clean prefix, then build and run a program through pkg-config and the CMake package, shared and
# static each; and with the source tree as a part of its project. Uninstall. usage: run.sh BUILD_DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
work=$build/package-test
rm -rf "$work"
mkdir -p "$work/cmake"
prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >/dev/null
pc=$(dirname "$(find "$prefix" -name turbo.pc)")
lib=$(dirname "$pc")
export PKG_CONFIG_PATH="$pc"

cc "$here/get.c" $(pkg-config --cflags --libs turbo) -o "$work/pc-shared"
LD_LIBRARY_PATH=$lib "$work/pc-shared"
echo "pkg-config, shared: ok"
if LD_LIBRARY_PATH=$lib ldd "$work/pc-shared" | grep -q "$lib/libturbo.so.0"; then :; else echo "not linked to the installed library" >&2; exit 1; fi

# The commands of README.md.
cc "$here/get.c" $(pkg-config --cflags --libs turbo) -Wl,-rpath,$(pkg-config --variable=libdir turbo) -o "$work/pc-rpath"
"$work/pc-rpath"
cc "$here/get.c" $(pkg-config --static --cflags --libs turbo | sed 's/-lturbo/-l:libturbo.a/') -o "$work/pc-static"
"$work/pc-static"
if ldd "$work/pc-static" | grep -qE 'libturbo|mimalloc'; then echo "static program needs libturbo.so or mimalloc" >&2; exit 1; fi
echo "pkg-config, static: ok"

cp "$here/CMakeLists.txt.in" "$work/cmake/CMakeLists.txt"
cp "$here/get.c" "$work/cmake/"
cmake -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/cmake/build" >/dev/null
"$work/cmake/build/shared"
"$work/cmake/build/static"
echo "CMake package, shared and static: ok"

# Where the library was found to be built from, the same again.
setting() { sed -n "s/^\($1:[A-Z]*=..*\)/-D\1/p" "$build/CMakeCache.txt"; }
cmake -S "$work/cmake" -B "$work/cmake/tree" -DTURBO_SOURCE="$(dirname "$(dirname "$here")")" \
  $(setting TURBO_LIBC_MALLOC) $(setting LLHTTP_SOURCE_DIR) >/dev/null
cmake --build "$work/cmake/tree" -j2 >/dev/null
"$work/cmake/tree/shared"
"$work/cmake/tree/static"
if grep -qi criterion "$work/cmake/tree/CMakeCache.txt"; then echo "add_subdirectory() looks for Criterion" >&2; exit 1; fi
cmake --install "$work/cmake/tree" --prefix "$work/cmake/nothing" >/dev/null
if [ -e "$work/cmake/nothing" ]; then echo "add_subdirectory() installs libturbo with its user" >&2; exit 1; fi
echo "CMake add_subdirectory(), shared and static: ok"

# What is not libturbo's own stays. To another place than the last install's nothing is removed.
uninstall() { sh "$here/../../scripts/uninstall.sh" "$build/install_manifest.txt" "$@"; }
left() { (cd "$1" && find . -type f -o -type l -o -name turbo) | sort | tr '\n' ' '; }
must() { [ "$1" = "$2" ] || { echo "uninstall: left: $1; not: $2" >&2; exit 1; }; }
before=$(left "$prefix")
DESTDIR=$work/stage cmake --install "$build" --prefix /opt/turbo >/dev/null
if uninstall "$prefix" 2>/dev/null; then echo "uninstall: took another install's manifest" >&2; exit 1; fi
must "$(left "$prefix")" "$before"
uninstall /opt/turbo/ "$work/stage" >/dev/null
must "$(left "$work/stage/opt")" "./turbo "
cmake --install "$build" --prefix "$prefix" >/dev/null
touch "$prefix/include/turbo/others.h"
uninstall "$prefix" >/dev/null
must "$(left "$prefix")" "./include/turbo ./include/turbo/others.h "
echo "uninstall: ok"
