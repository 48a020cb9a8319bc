#!/bin/sh
# Install what is missing. usage: deps.sh build|test|fuzz|bench|soak|freethreaded ...
set -eu
build="gcc g++ cmake ninja-build pkg-config libuv1-dev libmimalloc-dev node-llhttp python3 python3-venv python3-dev"
test="libcriterion-dev clang curl wrk apache2-utils"
fuzz="clang libclang-rt-dev llvm"
bench="wrk apache2-utils nginx-light valgrind strace"
soak="strace"
freethreaded="make dpkg-dev xz-utils debian-archive-keyring libssl-dev zlib1g-dev libffi-dev"

wanted=""
for set in "$@"; do
  case $set in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    bench) wanted="$wanted $bench" ;;
    soak) wanted="$wanted $soak" ;;
    freethreaded) wanted="$wanted $freethreaded" ;;
    *) echo "deps.sh: unknown set $set" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  echo "libturbo: this system has no apt. Install these (Debian's names) yourself, then use CMake directly:" >&2
  echo "  $wanted" >&2
  exit 1
fi

missing=""
for package in $wanted; do
  case " $missing " in *" $package "*) continue ;; esac # sets share some
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "libturbo: these packages are missing, and neither root nor sudo is at hand:$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
echo "libturbo: installing$missing"
$sudo apt-get update -qq
# A server that is installed to be measured must not be started by its package.
guard=""
if [ ! -e /usr/sbin/policy-rc.d ]; then
  guard=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $guard >/dev/null
  $sudo chmod +x $guard
fi
rc=0
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || rc=$?
[ -z "$guard" ] || $sudo rm -f $guard
[ $rc = 0 ] || echo "libturbo: apt-get could not install:$missing" >&2
exit $rc
