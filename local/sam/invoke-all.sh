#!/usr/bin/env bash
# Invokes every sample event in its function's container, against the real DynamoDB Local. Run build.sh first.
. "$(dirname "$0")/common.sh"
. "$here/scenario.sh"
needs_for_scenario
log=$state/invoke-all.log
: >"$log"

down() {
  local status=$?
  trap - EXIT INT TERM
  remove_containers
  "$here/aws.sh" down || status=1
  "$here/engine.sh" down
  "$here/docker.sh" down
  exit "$status"
}
trap down EXIT
# Without this trap, Ctrl-C ends SAM only, and the script goes on with the next event.
trap 'exit 130' INT TERM
"$here/docker.sh" up
"$here/engine.sh" up
"$here/aws.sh" up
. "$here/common.sh" # docker.sh may have started an engine

# Without an environment, a cold start must end with one line that names what is missing.
for function in .aws-sam/build/*/; do
  ended=$(docker run --rm --network none --volume "$PWD/$function:/var/task:ro" "$lambda_image" /var/task/bootstrap 2>&1) &&
    fail "$(basename "$function") started without an environment."
  jq --exit-status 'select(.level == "ERROR") | .error | contains("TABLE_NAME is not set")' <<<"$ended" >/dev/null &&
    [ "$(wc -l <<<"$ended")" = 1 ] || fail "$(basename "$function") without an environment said: $ended"
done
say "Without an environment every function ended, and said why."

play invoke || fail "The functions' own words: $log"
