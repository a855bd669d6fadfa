#!/usr/bin/env bash
# Builds the seeded simulation of the whole engine and runs it over many seeds, on all cores.
#
#   scripts/simulation.sh [SEEDS]        default 500
#
# The first seed is drawn, or SLUICEWAY_SIM_BASE; it is printed, and so is the command that replays
# a seed that fails. Shipped code (the preset `release`), so that ccache has compiled it already;
# `make test-cpp` runs some seeds under the sanitizers. See docs/internals/proofs.md.
set -euo pipefail
seeds=${1:-500}
base=${SLUICEWAY_SIM_BASE:-$((RANDOM * 32768 + RANDOM))}
shards=$(nproc)
program=build/release/simulation_test
log=build/simulation
mkdir -p build
printf '==> %s simulations from seed %s\n' "$seeds" "$base" >&2
cmake --preset release --log-level=WARNING -DSLUICEWAY_TEST_ROOMS=simulation >/dev/null
cmake --build --preset release --target simulation_test -j "$shards" >"$log-build.log" || {
  tail -n 40 "$log-build.log" >&2
  exit 1
}
export SLUICEWAY_SIM_BASE=$base SLUICEWAY_SIM_SEEDS=$seeds
rm -f "$log"-[0-9]*.log
pids=()
for ((shard = 0; shard < shards; ++shard)); do
  SLUICEWAY_SIM_SHARD=$shard/$shards "$program" \
    --gtest_filter=Simulation.KeepsEveryInvariant >"$log-$shard.log" 2>&1 &
  pids+=($!)
done
failed=0
for ((shard = 0; shard < shards; ++shard)); do
  wait "${pids[$shard]}" || failed=1
  grep -E 'executions' "$log-$shard.log" || true
done
# A point at which no process of any shard died was not tried.
missed=$(cat "$log"-[0-9]*.log | awk -v shards="$shards" '
  /^no process died at/ { missing[$NF]++ }
  END { for (label in missing) if (missing[label] == shards) print label }')
if [ -n "$missed" ]; then
  printf 'no process died at: %s\n' "$missed" >&2
  failed=1
fi
# The planted bugs, and that a seed is always the same run.
env -u SLUICEWAY_SIM_SEEDS "$program" --gtest_filter=-Simulation.KeepsEveryInvariant \
  >"$log-planted.log" 2>&1 || failed=1
grep -E '^[a-z ]+: seed' "$log-planted.log" || true
if [ "$failed" = 1 ]; then
  grep -hE -A4 '^[-]?seed [0-9]+:|Failure|died' "$log"-*.log | head -n 60 >&2
  printf 'replay with: SLUICEWAY_SIM_SEED=<seed> %s --gtest_filter=Simulation.OneSeed\n' \
    "$program" >&2
  exit 1
fi
