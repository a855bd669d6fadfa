#!/usr/bin/env bash
# Builds the libFuzzer targets with clang-19, under ASan and UBSan, and runs each for some seconds.
#
#   scripts/fuzz.sh [SECONDS_EACH]       default 60
#
# A target starts from its corpus in tests/fuzz/corpus/<target>, which is read and not written; what
# it learns is kept in build/fuzz-corpus/<target>. Each run prints its seed; an input that breaks
# the target is left in build/fuzz-corpus as crash-*.
set -euo pipefail
seconds=${1:-60}
cmake --preset fuzz --log-level=WARNING >/dev/null
cmake --build --preset fuzz -j "$(nproc)"
for source in tests/fuzz/*_fuzz.cc; do
  target=$(basename "$source" .cc)
  learnt=build/fuzz-corpus/$target
  given=tests/fuzz/corpus/$target
  mkdir -p "$learnt"
  printf '==> %s for %s s\n' "$target" "$seconds" >&2
  inputs=("$learnt")
  [ ! -d "$given" ] || inputs+=("$given")
  "build/fuzz/$target" -max_total_time="$seconds" -print_final_stats=1 -timeout=10 \
    -artifact_prefix="build/fuzz-corpus/" "${inputs[@]}" >"$learnt.log" 2>&1 || {
    tail -n 40 "$learnt.log" >&2
    exit 1
  }
  grep -E 'Seed|number_of_executed_units' "$learnt.log" || true
done
