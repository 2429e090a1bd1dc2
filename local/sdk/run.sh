#!/usr/bin/env bash
# Drives the local stack with two versions of the vendor's Python client: run.sh [VERSION...]. After `cargo build`.
# The clients lie in target/sdk. Each version gets a stack of its own, in memory, on a port of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
state=$target/sdk
mkdir -p "$state"
say() { printf '%s\n' "$*" >&2; }
[ -x "$target/debug/local" ] || { say "$target/debug/local is missing: cargo build"; exit 1; }
command -v python3 >/dev/null || { say "python3 is missing: install Python 3.10 or newer."; exit 1; }

stack=
end() {
  [ -n "$stack" ] || return 0
  kill "$stack" 2>/dev/null || true
  wait "$stack" 2>/dev/null || true
  stack=
}
trap end EXIT
trap 'exit 130' INT TERM

# has VERSION: the client is installed whole.
has() {
  "$state/$1/bin/python" -c 'import sys, spatialflow; sys.exit(spatialflow.__version__ != sys.argv[1])' "$1" 2>/dev/null
}

# drive VERSION
drive() {
  local log=$state/$1.log url=
  if ! has "$1"; then
    say "Installing spatialflow $1 into $state/$1 ..."
    python3 -m venv --clear "$state/$1" || { say "Python lacks venv (Debian: install python3-venv)."; return 1; }
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
  [ -n "$url" ] || { say "The stack did not come up:"; cat "$log" >&2; end; return 1; }
  # The client asks the environment for a proxy; nothing here is beyond this machine.
  local status=0
  NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 \
    "$state/$1/bin/python" local/sdk/drive.py "$url" || status=1
  end
  return $status
}

[ $# -gt 0 ] || set -- 0.2.0 3.2.0
failed=0
for version in "$@"; do
  drive "$version" || failed=1
done
exit $failed
