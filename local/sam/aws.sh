#!/usr/bin/env bash
# The AWS that the containers see, before DynamoDB Local: aws.sh up | down. What it does: aws.py.
. "$(dirname "$0")/common.sh"
folder=$state/aws

case ${1:-} in
up)
  "$here/tools.sh"
  mkdir -p "$folder"
  is_free "$aws_port" || fail "Port $aws_port is taken: end what listens there, or \`$0 down\`."
  # Containers reach this machine at the bridge's address; under Docker Desktop there is none here, and loopback does.
  bridge=$(ip -4 -oneline address show docker0 2>/dev/null | sed -nE 's|.* inet ([0-9.]+)/.*|\1|p' || true)
  "$python" "$here/aws.py" "$dynamodb_port" "$aws_port" 127.0.0.1 ${bridge:+"$bridge"} \
    >"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  await 20 "aws.py (its log: $folder/log)" curl -s "http://127.0.0.1:$aws_port"
  ;;
down)
  [ -f "$folder/pid" ] || exit 0
  end_pid "$folder/pid"
  # A call that template.yaml's roles do not allow is a fault, whatever the function made of it.
  ! grep DENIED "$folder/log" >&2 || fail "The roles in template.yaml do not allow what the functions do (above)."
  ;;
*) fail "usage: $0 up | down" ;;
esac
