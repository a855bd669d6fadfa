# Shell functions that the set-up scripts share: messages, the package lists, and the choice of a
# Python.
#
# Sourced, never run. It changes nothing on the machine. Every list of packages is here and
# nowhere else, so that the message which says what to install by hand cannot differ from what the
# scripts install.

# The oldest libcurl that the engine accepts: 7.88, which Debian 12 ships, reports cut HTTP/2
# bodies as whole.
CURL_FLOOR=8.5
# The oldest Python that the package declares, as pyproject.toml says it.
PYTHON_FLOOR=3.11

say()  { printf '==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }

# packages PROFILE...: the Debian packages of each profile, one a line. An unknown profile is an
# error.
#   build   what `pip install .` needs beside Python
#   test    what `make test` needs on top: GoogleTest, and the tools that check the C++ code
#   bench   Google Benchmark, and nghttp2 for the benchmark server
#   fuzz    clang with its run-time libraries, for libFuzzer
packages() {
  local profile
  for profile in "$@"; do
    case "$profile" in
      build) printf '%s\n' g++ cmake ninja-build ccache libabsl-dev libsimdjson-dev \
               libsqlite3-dev libssl-dev zlib1g-dev libbrotli-dev libzstd-dev \
               libcurl4-openssl-dev ;;
      test)  printf '%s\n' libgtest-dev clang-tidy-19 clang-format-19 ;;
      bench) printf '%s\n' libbenchmark-dev libnghttp2-dev ;;
      fuzz)  printf '%s\n' clang-19 libclang-rt-19-dev ;;
      *) die "packages: unknown profile '$profile'" ;;
    esac
  done
}

# has_headers PYTHON: true where PYTHON is new enough and can build an extension module and a
# virtual environment.
has_headers() {
  "$1" - "$PYTHON_FLOOR" <<'PY' 2>/dev/null
import ensurepip, os, sys, sysconfig, venv
floor = tuple(int(part) for part in sys.argv[1].split("."))
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(0 if sys.version_info >= floor and os.path.exists(header) else 1)
PY
}

# choose_python: prints the Python to build with. $PYTHON wins; then the first python3 on PATH
# that has its headers (a pyenv or conda Python often shadows the system's and has them); else
# /usr/bin/python3, whose headers a Debian package brings.
choose_python() {
  local found
  if [ -n "${PYTHON:-}" ]; then
    printf '%s\n' "$PYTHON"
    return
  fi
  found=$(command -v python3 || true)
  if [ -n "$found" ] && has_headers "$found"; then
    printf '%s\n' "$found"
  else
    printf '%s\n' /usr/bin/python3
  fi
}

# python_packages PYTHON: the packages that a Debian system Python needs, nothing for another
# Python or a complete one.
python_packages() {
  if [ "$1" = /usr/bin/python3 ] && ! has_headers "$1"; then
    printf '%s\n' python3-dev python3-venv
  fi
}

# is_installed PACKAGE: true where dpkg has it installed, for libcurl also new enough.
is_installed() {
  local version
  version=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null |
    grep -m1 '^installed ') || return 1
  version=${version#installed }
  [ "$1" != libcurl4-openssl-dev ] || dpkg --compare-versions "$version" ge "$CURL_FLOOR"
}
