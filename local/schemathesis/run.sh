#!/usr/bin/env bash
# Validates docs/openapi.json, then tests the local stack with schemathesis and the OpenAPI document that the stack
# serves. Usage: run.sh [OPTION...], with the options of `schemathesis run`. Run `cargo build` first. The script starts
# its own stack in memory, and installs schemathesis into target/schemathesis.
#
# EXAMPLES=200 generates up to 200 cases per operation instead of the number in schemathesis.toml. SEED=random, or a
# number, generates different cases. `EXAMPLES=1000 SEED=random` is a soak test.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=local/schemathesis
target=${CARGO_TARGET_DIR:-target}
state=$target/schemathesis
program=${STACK:-$target/debug/local}
mkdir -p "$state"
say() { printf '%s\n' "$*" >&2; }
[ -x "$program" ] || { say "$program is missing: run cargo build."; exit 1; }
command -v python3 >/dev/null || { say "python3 is missing: install Python 3.10 or newer."; exit 1; }

if ! cmp -s "$here/requirements.txt" "$state/installed.txt"; then
  say "Installing schemathesis into $state ..."
  python3 -m venv --clear "$state/venv" || { say "Python's venv is missing: on Debian, install python3-venv."; exit 1; }
  "$state/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$state/installed.txt"
fi

"$state/venv/bin/openapi-spec-validator" docs/openapi.json

log=$state/stack.log
"$program" --port "${PORT:-0}" >"$log" 2>&1 &
stack=$!
trap 'kill "$stack" 2>/dev/null || true; wait "$stack" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
url=
for _ in $(seq 200); do
  url=$(sed -n 's|^ *API *\(http://[^/]*\)/.*|\1|p' "$log")
  [ -z "$url" ] || break
  kill -0 "$stack" 2>/dev/null || break
  sleep 0.1
done
[ -n "$url" ] || { say "The stack did not start. Its output:"; cat "$log" >&2; exit 1; }

options=()
[ -z "${EXAMPLES:-}" ] || options+=(--max-examples "$EXAMPLES")
case ${SEED:-} in
  '') ;;
  random) options+=(--seed "$RANDOM$RANDOM") ;;
  *) options+=(--seed "$SEED") ;;
esac
# schemathesis uses the proxy of the environment, which cannot reach the stack on this machine.
NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here WORKSPACES_URL=$url \
  "$state/venv/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" "${options[@]}" "$@"

# A panic in a request is a 500, which schemathesis reports. A panic in a background task is only in the log.
if grep -n 'panicked' "$log"; then exit 1; fi
