#!/usr/bin/env bash
# Creates the virtual environment .venv and installs a group of Python packages into it.
#
#   scripts/venv.sh demo|dev|bench
#
# The groups are the dependency groups of pyproject.toml. Which Python is taken: see choose_python
# in scripts/lib.sh; set PYTHON to choose another. An environment that is there and whose Python
# still runs is kept. The index is pip's own configuration.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

group=${1:?usage: venv.sh demo|dev|bench}
root=$(dirname "$here")
venv=$root/.venv
python=$(choose_python)

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  has_headers "$python" ||
    die "$python cannot be built with: it has to be Python $PYTHON_FLOOR or newer
       with Python.h and the venv module. On Debian: apt-get install python3-dev python3-venv.
       Another one is taken with make PYTHON=/path/to/python3."
  say "creating .venv with $("$python" --version) ($python)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

say "installing the Python packages of the group '$group'"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
mkdir -p "$root/build"
{
  # Dependency groups (PEP 735) came with pip 25.1.
  "$venv/bin/python" -c 'import pip, sys
sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))' ||
    pip install --quiet --upgrade 'pip>=25.1'
  (cd "$root" && pip install --quiet --group "$group")
} >"$root/build/pip.log" 2>&1 || {
  tail -n 15 "$root/build/pip.log" >&2
  die "pip could not install the packages of the group '$group' (the whole log is build/pip.log).
       Without a network: put wheels in a folder, set PIP_NO_INDEX=1 PIP_FIND_LINKS=<folder>
       and run make again."
}
