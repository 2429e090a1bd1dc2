#!/usr/bin/env bash
# Starts and stops the real DynamoDB Local with the template's table: engine.sh up | down. It comes from Maven and runs on
# Java 17, or it is Docker's image. It keeps data in memory, and listens on every address, since it has no option for one.
. "$(dirname "$0")/common.sh"
folder=$state/dynamodb
main=software.amazon.dynamodb.services.local.main.ServerRunner
java_instead="install Java 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)"
image=amazon/dynamodb-local:3.3.1

has_java() {
  [[ $(java -version 2>&1) =~ version\ \"([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 17 ]
}

with_java() {
  if [ ! -f "$folder/lib/complete" ]; then
    say "Fetching DynamoDB Local ..."
    mvn --quiet --batch-mode --file "$here/dynamodb-local.pom.xml" \
      org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DincludeScope=runtime "-DoutputDirectory=$folder/lib" >&2
    touch "$folder/lib/complete"
  fi
  # DynamoDB Local writes files into its working directory.
  (
    cd "$folder"
    exec java -Xmx1g -Djava.library.path=lib -cp 'lib/*' "$main" \
      -inMemory -sharedDb -disableTelemetry -port "$dynamodb_port"
  ) >"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
}

with_docker() {
  local container
  container=$(docker run --detach --publish "$dynamodb_port:8000" "$image" \
    -jar DynamoDBLocal.jar -inMemory -sharedDb -disableTelemetry) ||
    fail "Docker cannot run $image (above); $java_instead."
  echo "$container" >"$folder/container"
}

case ${1:-} in
up)
  need curl "install it (Debian: apt-get install curl)."
  "$here/tools.sh"
  mkdir -p "$folder"
  is_free "$dynamodb_port" || fail "Port $dynamodb_port is taken: end what listens there, or \`$0 down\`."
  if has_java && command -v mvn >/dev/null; then
    with_java
  elif docker info >/dev/null 2>&1; then
    with_docker
  else
    fail "DynamoDB Local needs Docker, or else: $java_instead."
  fi
  endpoint=http://127.0.0.1:$dynamodb_port
  await 60 "DynamoDB Local (its log: $folder/log)" curl -s "$endpoint"
  "$python" "$here/table.py" "$endpoint" workspaces
  say "DynamoDB Local: $endpoint, table workspaces."
  ;;
down)
  end_pid "$folder/pid"
  if [ -f "$folder/container" ]; then
    docker rm --force "$(cat "$folder/container")" >/dev/null
    rm "$folder/container"
  fi
  ;;
*) fail "usage: $0 up | down" ;;
esac
