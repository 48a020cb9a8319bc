#!/bin/sh
# CPython 3.13 without a GIL, which distributions seldom have: built once from the source package of Debian trixie, which
# apt gets and checks. It goes into TURBO_CACHE (~/.cache/libturbo), which outlives `make clean` and serves all checkouts.
# Nothing outside of it is changed. Prints the interpreter's path. usage: python-freethreaded.sh
# TURBO_DEBIAN_MIRROR: where apt finds Debian, if not in what the machine's own sources name; JOBS: for make
set -eu
cache=${TURBO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/libturbo}
prefix=$cache/python3.13t
work=$cache/python3.13t-build
python=$prefix/bin/python3.13t
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "libturbo: $*" >&2
  exit 1
}

# Run a step whose output matters only if it fails. usage: quietly LOG WHAT COMMAND ...
quietly() {
  log=$1 what=$2
  shift 2
  "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "$what failed; all of it is in $log"; }
}

# The mirror of Debian that the machine has already. Ubuntu and others have none.
debian_mirror() {
  if [ -n "${TURBO_DEBIAN_MIRROR:-}" ]; then
    echo "$TURBO_DEBIAN_MIRROR"
  else
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -n 1
  fi
}

# apt-get with lists, cache and sources of its own, which leaves the system's alone; Debian's keyring checks what comes.
private_apt() {
  apt-get -qq -o Dir::State="$work/apt/state" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User= \
    -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Status=/dev/null "$@"
}

fetch() {
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || fail "no source of apt's is a mirror of Debian; set TURBO_DEBIAN_MIRROR"
  mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
  echo "deb-src [signed-by=$keyring] $mirror $suite main" >"$work/apt/sources.list"
  quietly "$work/update.log" "apt-get update for $mirror $suite (is there a network?)" \
    private_apt -o APT::Update::Error-Mode=any update
  (cd "$work" && quietly "$work/source.log" "apt-get source python3.13" private_apt source --download-only python3.13)
  # As CPython has released it: Debian's changes place files as its own packages want them.
  quietly "$work/unpack.log" "dpkg-source" \
    dpkg-source --no-check --skip-patches -x "$work"/python3.13_*.dsc "$work/source"
}

build() {
  cd "$work/source"
  quietly "$work/configure.log" "configure" \
    ./configure --disable-gil --prefix="$prefix" --without-static-libpython --disable-test-modules
  quietly "$work/make.log" "make" make -j "${JOBS:-2}"
  quietly "$work/install.log" "make install" make install
  # Without their headers make leaves such modules out and says that all is well.
  quietly "$work/check.log" "the check of the new interpreter" "$python" -c \
    'import ctypes, ssl, sys, venv, zlib; sys.exit(sys._is_gil_enabled())'
}

if [ ! -e "$prefix/complete.stamp" ]; then
  for tool in apt-get dpkg-source flock make gcc; do
    command -v $tool >/dev/null 2>&1 || fail "$tool is missing: this needs apt, and sh scripts/deps.sh freethreaded"
  done
  [ -e "$keyring" ] || fail "$keyring is missing; Debian and Ubuntu have it in the package debian-archive-keyring"
  mkdir -p "$cache"
  exec 9>"$cache/python3.13t.lock"
  flock 9 # another checkout may be at it
  if [ ! -e "$prefix/complete.stamp" ]; then
    echo "libturbo: building a free-threaded CPython 3.13 into $prefix (a few minutes)" >&2
    rm -rf "$work" "$prefix"
    mkdir -p "$work"
    fetch >&2
    (build) >&2
    touch "$prefix/complete.stamp"
    rm -rf "$work"
  fi
fi
echo "$python"
