#!/bin/sh
# Every public header compiles by itself, as C99, C11 and C++11, without a warning. usage: headers.sh INCLUDE_DIR
set -eu
cd "$1"
for header in turbo.h turbo/*.h; do
  for std in c99 c11 c++11; do
    case $std in c++*) cc="c++ -x c++" ;; *) cc="cc -x c" ;; esac
    echo "#include \"$header\"
int unused;" | $cc -std=$std -pedantic -Wall -Wextra -Werror -I. -fsyntax-only -
  done
done
if grep -nE '#include *[<"](uv|llhttp|mimalloc)' turbo.h turbo/*.h; then
  echo "a dependency's header is part of ours" >&2
  exit 1
fi
echo "headers: ok"
