#!/usr/bin/env bash
# Runs the unit tests of a build folder that a CMake preset made.
#
#   scripts/ctest.sh PRESET [further ctest arguments]
#
# Under ThreadSanitizer the address space is not randomised where the machine allows that: the
# run-time library of g++ 12 stops at once ("unexpected memory mapping") on kernels that randomise
# with more than 28 bits.
set -euo pipefail
preset=${1:?usage: ctest.sh PRESET [ctest arguments]}
shift
runner=()
if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
  runner=(setarch "$(uname -m)" -R)
fi
log=build/ctest-$preset.log
mkdir -p build
if ${runner[@]+"${runner[@]}"} ctest --preset "$preset" "$@" >"$log" 2>&1; then
  grep -E 'tests passed|Total Test time' "$log" || tail -n 3 "$log"
else
  grep -vE '^ *[0-9]+/[0-9]+ Test .* Passed|^ *Start ' "$log" | tail -n 120 >&2
  exit 1
fi
