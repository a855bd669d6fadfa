#!/usr/bin/env bash
# Installs the Debian packages that the project is built with.
#
#   scripts/system_packages.sh build [test] [bench] [fuzz]
#
# It asks dpkg first, so a machine that has everything is left alone: no network, no rights
# needed. Otherwise it runs `apt-get update` and installs what is missing, as root or through a
# password-less sudo. Where the release's own libcurl is too old (Debian 12), the release's
# backports suite is added, with the mirror, the options and the key that the machine's apt
# sources already use for the release (scripts/backports_source.py), and libcurl alone is taken
# from it.
#
# Where it cannot install (no apt, not root, no network), it asks CMake whether the libraries are
# there all the same. If so it goes on; if not it says what to install by hand and ends with
# status 1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

[ $# -gt 0 ] || die "usage: system_packages.sh build [test] [bench] [fuzz]"
python=$(choose_python)
mapfile -t wanted < <(packages "$@"; python_packages "$python")
backports_list=/etc/apt/sources.list.d/sluiceway-backports.sources

# by_hand REASON: what to install, for whoever has the rights. Ends the script, unless the
# libraries are there in another way.
by_hand() {
  local log=build/probe.log
  mkdir -p build
  if has_headers "$python" && command -v cmake >/dev/null &&
     cmake -S "$here/.." -B build/probe -DSLUICEWAY_BUILD_PYTHON=OFF >"$log" 2>&1; then
    note "$1; the libraries are there all the same, going on without apt."
    exit 0
  fi
  cat >&2 <<TEXT
error: $1.

Sluiceway is built with these, which have to be installed by hand then:
  a C++20 compiler (g++ 12, clang 16 or newer), CMake 3.25 or newer, Ninja; ccache if you like
  Python $PYTHON_FLOOR or newer with its headers (Python.h) and the venv module
  libcurl $CURL_FLOOR or newer with OpenSSL and HTTP/2, simdjson 3, abseil 20220623 or newer,
  SQLite 3.40 or newer, OpenSSL 3, zlib, Brotli, Zstandard 1.4; each with its headers
  for the tests: GoogleTest 1.12 or newer

On Debian, as root:
  apt-get install ${wanted[*]}
  On Debian 12 libcurl has to come from the suite bookworm-backports:
  add that suite to the apt sources, then apt-get install -t bookworm-backports libcurl4-openssl-dev

With these present, \`pip install .\` works by itself, and so do the commands of the Makefile.
TEXT
  [ ! -s "$log" ] || printf '\nWhat CMake found missing (all of it in %s):\n' "$log" >&2
  [ ! -s "$log" ] || grep -m3 -E 'CMake Error|Could NOT|Could not find' "$log" >&2 || true
  exit 1
}

# as_root COMMAND...: runs it with the rights that the first check found.
as_root() { ${sudo[@]+"${sudo[@]}"} env DEBIAN_FRONTEND=noninteractive "$@"; }

# install NAME...: apt-get install with progress lines, quiet where all is well.
install() {
  as_root apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 "$@" \
    >>build/apt.log 2>&1 || {
    tail -n 15 build/apt.log >&2
    by_hand "apt-get install failed (the whole log is build/apt.log)"
  }
}

# candidate PACKAGE: the version that apt would install, empty where it knows none.
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p' | grep -v '(none)' || true; }

# Adds the backports suite of this release, unless the sources name it, and fetches its index alone.
add_backports() {
  local codename suite
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  suite=$codename-backports
  if ! apt-get indextargets --format '$(RELEASE)' 'Identifier: Packages' | grep -qx "$suite"; then
    say "adding the suite $suite for libcurl $CURL_FLOOR or newer, from the machine's own mirror"
    apt-get indextargets 'Identifier: Packages' \
      --format '$(CODENAME)|$(ORIGIN)|$(COMPONENT)|$(SOURCESENTRY)' |
      /usr/bin/python3 "$here/backports_source.py" "$codename" >build/backports.sources ||
      by_hand "no apt source of the release '$codename' was found"
    as_root cp build/backports.sources "$backports_list"
    note "written: $backports_list"
    as_root apt-get update -q -o Dir::Etc::sourcelist="$backports_list" -o Dir::Etc::sourceparts=- \
      -o APT::Get::List-Cleanup=0 >>build/apt.log 2>&1 ||
      by_hand "apt-get update of $suite failed (build/apt.log)"
  fi
  backports=$suite
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  by_hand "this machine has no apt-get"
fi
missing=()
for package in "${wanted[@]}"; do
  is_installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
    by_hand "packages are missing (${missing[*]}) and installing them takes root"
  sudo=(sudo -n)
fi

mkdir -p build
: >build/apt.log
say "installing ${#missing[@]} Debian packages: ${missing[*]}"
as_root apt-get update -q >>build/apt.log 2>&1 || {
  tail -n 5 build/apt.log >&2
  by_hand "apt-get update failed: no network, or a mirror that does not answer"
}
plain=()
backports=
for package in "${missing[@]}"; do
  if [ "$package" = libcurl4-openssl-dev ] &&
     ! dpkg --compare-versions "$(candidate libcurl4-openssl-dev)" ge "$CURL_FLOOR"; then
    add_backports
  else
    plain+=("$package")
  fi
done
[ ${#plain[@]} -eq 0 ] || install "${plain[@]}"
[ -z "$backports" ] || install -t "$backports" libcurl4-openssl-dev
for package in "${missing[@]}"; do
  is_installed "$package" || by_hand "apt-get brought no $package that is new enough"
done
note "done; the log is build/apt.log"
