#!/usr/bin/env bash
# Tests the local stack with two versions of the vendor's Python client. Usage: run.sh [VERSION...]. Run `cargo build`
# first. The clients are installed into target/sdk. Each version is tested against its own stack in memory, on its own
# port.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
state=$target/sdk
mkdir -p "$state"
say() { printf '%s\n' "$*" >&2; }
[ -x "$target/debug/local" ] || { say "$target/debug/local is missing: run cargo build."; exit 1; }
command -v python3 >/dev/null || { say "python3 is missing: install Python 3.10 or newer."; exit 1; }

stack=
stop_stack() {
  [ -n "$stack" ] || return 0
  kill "$stack" 2>/dev/null || true
  wait "$stack" 2>/dev/null || true
  stack=
}
trap stop_stack EXIT
trap 'exit 130' INT TERM

# is_installed VERSION: succeeds if this version of the client is installed completely.
is_installed() {
  "$state/$1/bin/python" -c 'import sys, spatialflow; sys.exit(spatialflow.__version__ != sys.argv[1])' "$1" 2>/dev/null
}

# drive VERSION: installs the client if needed, starts a stack, and runs drive.py against it.
drive() {
  local log=$state/$1.log url=
  if ! is_installed "$1"; then
    say "Installing spatialflow $1 into $state/$1 ..."
    if ! python3 -m venv --clear "$state/$1"; then
      say "Python's venv is missing: on Debian, install python3-venv."
      return 1
    fi
    "$state/$1/bin/pip" install --quiet --disable-pip-version-check "spatialflow==$1" || return 1
  fi
  "$target/debug/local" --port 0 >"$log" 2>&1 &
  stack=$!
  for _ in $(seq 200); do
    url=$(sed -n 's|^ *API *\(http://[^/]*\)/.*|\1|p' "$log")
    [ -z "$url" ] || break
    kill -0 "$stack" 2>/dev/null || break
    sleep 0.1
  done
  [ -n "$url" ] || { say "The stack did not start. Its output:"; cat "$log" >&2; stop_stack; return 1; }
  # The client uses the proxy of the environment, which cannot reach the stack on this machine.
  local status=0
  NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 \
    "$state/$1/bin/python" local/sdk/drive.py "$url" || status=1
  stop_stack
  return $status
}

[ $# -gt 0 ] || set -- 0.2.0 3.2.0
failed=0
for version in "$@"; do
  drive "$version" || failed=1
done
exit $failed
