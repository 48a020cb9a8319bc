#!/bin/sh
# Run the fuzz targets with libFuzzer, or make the corpora smaller.
# usage: fuzz.sh run SECONDS [TARGET ...] | merge [TARGET ...]
#
# run: each target for SECONDS, two at a time, from tests/fuzz/corpus and fresh seeds; what is found anew is kept in
# build/fuzz-work/TARGET. Ends with 1 when an input was found that must not exist: it lies in build/fuzz-found.
# FUZZ_TIMEOUT: the seconds of wall time that an input may take (10), more for a machine that others keep busy.
# merge: the smallest set of inputs that reaches as much replaces tests/fuzz/corpus.
set -eu
cd "$(dirname "$0")/.."
what=$1
shift
seconds=0
if [ "$what" = run ]; then
  seconds=$1
  shift
fi
targets=${*:-http1_parse fields router conn conditional static}
sh scripts/build.sh fuzz
[ -d build/fuzz-seeds ] || python3 tests/fuzz/seed.py build/fuzz-seeds >/dev/null
mkdir -p build/fuzz-found
export UBSAN_OPTIONS=print_stacktrace=1

# User and system time of what ran, of the output of `times` in a file, in whole seconds.
cpu_seconds() {
  awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, part, "[ms]"); sum += part[1] * 60 + part[2] } print int(sum) }' "$1"
}

# In a subshell of its own, so that its children's time is the target's.
fuzz_one() {
  mkdir -p build/fuzz-work/"$1"
  rc=0
  begun=$(date +%s)
  build/fuzz/tests/fuzz/fuzz_"$1" -max_total_time="$seconds" -max_len=4096 -timeout="${FUZZ_TIMEOUT:-10}" -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix=build/fuzz-found/"$1"- -dict=tests/fuzz/http.dict \
    build/fuzz-work/"$1" tests/fuzz/corpus/"$1" build/fuzz-seeds/"$1" >build/fuzz-"$1".log 2>&1 || rc=$?
  times >build/fuzz-"$1".times # not in a pipe: that would be another shell's
  execs=$(sed -n 's/^stat::number_of_executed_units: *//p' build/fuzz-"$1".log)
  if [ $rc = 0 ] || [ $rc = 72 ]; then # 72: SIGINT or SIGTERM ended it before its time
    cover=$(grep -o 'cov: [0-9]* ft: [0-9]*' build/fuzz-"$1".log | tail -n 1)
    echo "fuzz_$1: ${execs:-0} inputs in $(($(date +%s) - begun)) s, $(cpu_seconds build/fuzz-"$1".times) s of CPU, no finding; $cover"
  else
    echo "fuzz_$1: FINDING after ${execs:-?} inputs, see build/fuzz-$1.log and build/fuzz-found"
    touch build/fuzz-failed
  fi
}

merge_one() {
  rm -rf build/fuzz-merged
  mkdir -p build/fuzz-merged build/fuzz-work/"$1" tests/fuzz/corpus/"$1"
  build/fuzz/tests/fuzz/fuzz_"$1" -set_cover_merge=1 -use_counters=0 -max_len=4096 build/fuzz-merged \
    build/fuzz-seeds/"$1" tests/fuzz/corpus/"$1" build/fuzz-work/"$1" >build/fuzz-merge-"$1".log 2>&1
  for kept in tests/fuzz/corpus/"$1"/*-*; do # named by hand, never merged away
    [ ! -e "$kept" ] || cp "$kept" build/fuzz-merged
  done
  rm -rf tests/fuzz/corpus/"$1"
  mv build/fuzz-merged tests/fuzz/corpus/"$1"
  echo "$1: $(ls tests/fuzz/corpus/"$1" | wc -l) files, $(cat tests/fuzz/corpus/"$1"/* | wc -c) bytes"
}

rm -f build/fuzz-failed
for target in $targets; do
  mkdir -p tests/fuzz/corpus/"$target"
done
if [ "$what" = merge ]; then
  for target in $targets; do
    merge_one "$target"
  done
  exit 0
fi
# shellcheck disable=SC2086
set -- $targets
while [ $# -gt 0 ]; do
  fuzz_one "$1" &
  shift
  if [ $# -gt 0 ]; then
    fuzz_one "$1" &
    shift
  fi
  wait
done
[ ! -e build/fuzz-failed ]
