#!/bin/sh
# CPython without a GIL, which distributions seldom have: built once from the source package of a newer Debian, which
# apt gets and checks. It goes into TURBO_CACHE (~/.cache/libturbo), which outlives `make clean` and serves all checkouts.
# Nothing outside of it is changed. Prints the interpreter's path. usage: python-freethreaded.sh [3.13t|3.14t|3.14t-tsan]
# -tsan: made with ThreadSanitizer; beside bin/ lies the file of what CPython suppresses, suppressions.txt.
# TURBO_DEBIAN_MIRROR: where apt finds Debian, if not in what the machine's own sources name; TURBO_PYTHON_DSC: the .dsc of a
# source package that is there already, instead of apt; JOBS: for make
set -eu
cache=${TURBO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/libturbo}
name=${1:-3.13t}
version=${name%%t*}
case $name in
  3.13t) suites=trixie ;;
  3.14t | 3.14t-tsan) suites="forky sid" ;; # the newer one of both: what a testing suite names may be gone already
  *) echo "libturbo: $name is none of 3.13t, 3.14t, 3.14t-tsan" >&2; exit 2 ;;
esac
prefix=$cache/python$name
work=$cache/python$name-build
python=$prefix/bin/python${version}t
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
  for suite in $suites; do
    echo "deb-src [signed-by=$keyring] $mirror $suite main"
  done >"$work/apt/sources.list"
  quietly "$work/update.log" "apt-get update for $mirror $suites (is there a network?)" \
    private_apt -o APT::Update::Error-Mode=any update
  (cd "$work" && quietly "$work/source.log" "apt-get source python$version (TURBO_PYTHON_DSC takes one that is there)" \
    private_apt source --download-only "python$version")
}

# As CPython has released it: Debian's changes place files as its own packages want them.
unpack() {
  quietly "$work/unpack.log" "dpkg-source" dpkg-source --no-check --skip-patches -x "$1" "$work/source"
}

build() {
  cd "$work/source"
  tsan=
  case $name in *-tsan) tsan=--with-thread-sanitizer ;; esac
  export TSAN_OPTIONS=report_bugs=0 # this is no test of CPython
  quietly "$work/configure.log" "configure" \
    ./configure --disable-gil --prefix="$prefix" --without-static-libpython --disable-test-modules $tsan
  quietly "$work/make.log" "make" make -j "${JOBS:-2}"
  # With a sanitizer it would compile the library for a quarter of an hour, which imports do when they need it.
  quietly "$work/install.log" "make install" make install ${tsan:+COMPILEALL_OPTS="-x ."}
  [ -z "$tsan" ] || cp Tools/tsan/suppressions_free_threading.txt "$prefix/suppressions.txt"
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
  exec 9>"$cache/python$name.lock"
  flock 9 # another checkout may be at it
  if [ ! -e "$prefix/complete.stamp" ]; then
    echo "libturbo: building CPython $name into $prefix (a few minutes)" >&2
    rm -rf "$work" "$prefix"
    mkdir -p "$work"
    [ -n "${TURBO_PYTHON_DSC:-}" ] || fetch >&2
    unpack "${TURBO_PYTHON_DSC:-$(echo "$work/python$version"_*.dsc)}" >&2
    (build) >&2
    touch "$prefix/complete.stamp"
    rm -rf "$work"
  fi
fi
echo "$python"
