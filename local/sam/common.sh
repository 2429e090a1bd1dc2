# Sourced by every script here: paths, messages, and how to stop what a script started.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/local/sam
# Everything that these scripts build or download is here.
state=${CARGO_TARGET_DIR:-$root/target}/sam
python=$state/venv/bin/python
mkdir -p "$state"
cd "$root"

export PATH=$state/venv/bin:$PATH SAM_CLI_TELEMETRY=0
# SAM and the SDKs need a region and keys. Nothing on this machine checks them.
export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
unset AWS_PROFILE AWS_SESSION_TOKEN
# SAM asks STS for the account number, and uses a placeholder when STS does not respond. This makes the request fail
# immediately.
export AWS_ENDPOINT_URL_STS=http://127.0.0.1:9 AWS_MAX_ATTEMPTS=1
# docker.sh writes this file when it started the engine.
[ -f "$state/docker/host" ] && DOCKER_HOST=$(cat "$state/docker/host") && export DOCKER_HOST

# The ports of the stand-in for AWS. env-vars.json has the same ports.
dynamodb_port=8124 aws_port=8125 api_port=${PORT:-3000}

# The base image of Lambda.
lambda_image=public.ecr.aws/lambda/provided:al2023-x86_64

# The options of both `sam local` commands.
sam_local=(--env-vars "$here/env-vars.json" --skip-pull-image --add-host host.docker.internal:host-gateway)

# binaries: the binary of each function of the template, one a line.
binaries() { grep -oE 'Binary: [a-z-]+' template.yaml | cut -d' ' -f2; }

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

[ "${BASH_VERSINFO[0]}" -ge 4 ] || fail "bash $BASH_VERSION is too old: install bash 4 or newer (macOS: brew install bash)."

# need COMMAND WHAT-TO-DO
need() { command -v "$1" >/dev/null 2>&1 || fail "$1 is missing: $2"; }

# needs_for_scenario: checks the commands that events/scenario.txt needs, before anything is started.
needs_for_scenario() {
  need jq "install it (Debian: apt-get install jq)."
  need curl "install it (Debian: apt-get install curl)."
  "$here/tools.sh"
  [ -f .aws-sam/build/template.yaml ] || fail "Nothing is built: run local/sam/build.sh."
}

# await SECONDS WHAT COMMAND...: waits until the command succeeds.
await() {
  local tries=$(($1 * 5)) what=$2
  shift 2
  while ! "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "$what did not come up in time."
    sleep 0.2
  done
}

# is_free PORT: whether no process listens on the port.
is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# end_pid FILE: ends the process whose id is in the file, and waits for its end.
end_pid() {
  [ -f "$1" ] || return 0
  local pid
  pid=$(cat "$1")
  rm -f "$1"
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}
