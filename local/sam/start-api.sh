#!/usr/bin/env bash
# Serves the whole API from containers on http://127.0.0.1:3000 (PORT), with the real DynamoDB Local and one account,
# until Ctrl-C. `start-api.sh prove` runs events/scenario.txt over HTTP instead, and ends. Run build.sh first.
. "$(dirname "$0")/common.sh"
. "$here/scenario.sh"
needs_for_scenario
url=http://127.0.0.1:$api_port
log=$state/start-api.log
is_free "$api_port" || fail "Port $api_port is taken: name another one with PORT=..."

down() {
  local status=$?
  trap - EXIT INT TERM
  end_pid "$state/start-api.pid"
  remove_containers
  "$here/aws.sh" down || status=1
  "$here/engine.sh" down
  "$here/docker.sh" down
  exit "$status"
}
: >"$log"
trap down EXIT
trap 'exit 0' INT TERM
"$here/docker.sh" up
"$here/engine.sh" up
"$here/aws.sh" up
. "$here/common.sh" # docker.sh may have started an engine

sam local start-api --port "$api_port" --warm-containers EAGER "${sam_local[@]}" >>"$log" 2>&1 </dev/null &
echo $! >"$state/start-api.pid"
await 120 "sam local start-api (its log: $log)" curl -s "$url/.well-known/jwks.json"

# A sender: HTTP events go over HTTP. Events of other triggers are invoked directly.
over_http() {
  local event headers=() line body
  event=$(cat)
  if ! jq -e .requestContext.http >/dev/null <<<"$event"; then
    invoke "$1" <<<"$event"
    return
  fi
  while read -r line; do headers+=(--header "$line"); done < <(jq -r '.headers | to_entries[]
    | select(.key | test("^(accept|authorization|content-type|origin|access-control-.*)$")) | "\(.key): \(.value)"' <<<"$event")
  body=$(mktemp)
  local status
  status=$(jq -j '.body // ""' <<<"$event" | curl --silent --path-as-is --max-time 30 --output "$body" \
    --write-out '%{http_code}' --request "$(jq -r .requestContext.http.method <<<"$event")" "${headers[@]}" \
    --data-binary @- "$url$(jq -r '.rawPath + (if .rawQueryString == "" then "" else "?" + .rawQueryString end)' <<<"$event")")
  jq -n --arg status "$status" --rawfile body "$body" '{statusCode: $status, $body}'
  rm "$body"
}

if [ "${1:-}" = prove ]; then
  play over_http || fail "The functions' own words: $log"
  exit
fi

email=owner@example.com password=password123
curl --silent --fail --output /dev/null "$url/api/v1/auth/register" --header 'Content-Type: application/json' \
  --data "{\"email\":\"$email\",\"password\":\"$password\",\"name\":\"Olive Owner\",\"company\":\"Demo\"}" ||
  fail "The first account could not be made; the functions' own words: $log"
cat <<TEXT
The API is at $url, its log in $log. Mails: http://127.0.0.1:$aws_port/mails
The table is 'workspaces' at http://127.0.0.1:$dynamodb_port. An account: $email, $password. Ctrl-C ends it all.

  token=\$(curl -s $url/api/v1/auth/login -H 'Content-Type: application/json' \\
    -d '{"email":"$email","password":"$password"}' | jq -r .access_token)
  curl -s $url/api/v1/workspaces/ -H "Authorization: Bearer \$token"
TEXT
wait "$(cat "$state/start-api.pid")"
