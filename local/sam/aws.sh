#!/usr/bin/env bash
# Starts and stops the stand-in for AWS that the containers call, in front of DynamoDB Local: aws.sh up | down. See aws.py.
. "$(dirname "$0")/common.sh"
folder=$state/aws

case ${1:-} in
up)
  "$here/tools.sh"
  mkdir -p "$folder"
  is_free "$aws_port" || fail "Port $aws_port is taken: end what listens there, or \`$0 down\`."
  # Containers reach this machine at the bridge's address. Docker Desktop has no bridge here, and loopback works.
  bridge=$(ip -4 -oneline address show docker0 2>/dev/null | sed -nE 's|.* inet ([0-9.]+)/.*|\1|p' || true)
  "$python" "$here/aws.py" "$dynamodb_port" "$aws_port" 127.0.0.1 ${bridge:+"$bridge"} \
    >"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  await 20 "aws.py (its log: $folder/log)" curl -s "http://127.0.0.1:$aws_port"
  ;;
down)
  [ -f "$folder/pid" ] || exit 0
  end_pid "$folder/pid"
  # A call that the roles of template.yaml do not allow fails the run, whatever the function returned.
  ! grep DENIED "$folder/log" >&2 || fail "The roles in template.yaml do not allow what the functions do (above)."
  ;;
*) fail "usage: $0 up | down" ;;
esac
