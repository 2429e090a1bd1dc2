#!/usr/bin/env bash
# Invokes every sample event in its function's container, with the real DynamoDB Local behind it. build.sh comes first.
. "$(dirname "$0")/common.sh"
. "$here/life.sh"
need jq "install it (Debian: apt-get install jq)."
[ -f .aws-sam/build/template.yaml ] || fail "Nothing is built: run local/sam/build.sh."
log=$state/invoke-all.log
: >"$log"

down() {
  local status=$?
  trap - EXIT
  "$here/aws.sh" down || status=1
  "$here/engine.sh" down
  "$here/docker.sh" down
  exit "$status"
}
trap down EXIT
"$here/docker.sh" up
"$here/engine.sh" up
"$here/aws.sh" up
. "$here/common.sh" # docker.sh may have started an engine

# The template's name of an event's function: `usage-ingest-good` is UsageIngest's, not Usage's.
logical() {
  local binary longest=
  while read -r binary; do
    [[ $1 != "$binary"-* || ${#binary} -le ${#longest} ]] || longest=$binary
  done < <(sed -n 's/^ *Binary: //p' template.yaml)
  sed -E 's/(^|-)(.)/\U\2/g' <<<"$longest"
}

invoke() {
  echo "== $1" >>"$log"
  sam local invoke "$(logical "$1")" --event - "${sam_local[@]}" 2>>"$log" | tail -1
}

play invoke || fail "The functions' own words: $log"
