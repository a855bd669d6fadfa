#!/usr/bin/env bash
# Compiles the module _core and installs the package into .venv.
#
#   scripts/build_module.sh
#
# An editable install: the Python files are read from src/python, so a changed .py needs no
# rebuild, and only the compiled module lies in .venv. The build folder build/python is kept, so a
# second run compiles what changed and nothing else; ccache, where present, also serves the other
# build folders. No build isolation: scikit-build-core and pybind11 are in .venv already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

root=$(dirname "$here")
log=$root/build/module.log
mkdir -p "$root/build"
say "compiling the module _core (the first time takes minutes; the log is build/module.log)"
cd "$root"
"$root/.venv/bin/python" -m pip --disable-pip-version-check install --verbose \
  --no-build-isolation --no-deps --editable . \
  --config-settings=build-dir=build/python >"$log" 2>&1 &
pid=$!

# A line of progress whenever Ninja has moved on; nothing where the output is not looked at.
last=
while kill -0 "$pid" 2>/dev/null; do
  sleep 2
  step=$(grep -oE '^ *\[[0-9]+/[0-9]+\]' "$log" 2>/dev/null | tail -n 1 | tr -d ' ' || true)
  if [ -n "$step" ] && [ "$step" != "$last" ]; then
    note "compiled $step"
    last=$step
  fi
done
wait "$pid" || {
  grep -nE 'error:|Error|FAILED' "$log" | head -n 20 >&2 || true
  tail -n 20 "$log" >&2
  die "the module could not be built; the whole log is build/module.log"
}
"$root/.venv/bin/python" -c 'import sluiceway._core' || die "the module was built but does not load"
