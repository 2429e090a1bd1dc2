# Sourced: runs events/scenario.txt, in which every sample event occurs at least once.
# shellcheck shell=bash disable=SC2154

# logical EVENT: the template's name of the function of an event. `usage-ingest-good` belongs to UsageIngest, not to Usage.
logical() {
  local binary longest='' word
  while read -r binary; do
    [[ $1 != "$binary"-* || ${#binary} -le ${#longest} ]] || longest=$binary
  done < <(binaries)
  for word in ${longest//-/ }; do printf '%s' "${word^}"; done
}

# invoke EVENT: a sender. It calls the function in a container of its own, with the event on stdin.
invoke() {
  echo "== $1" >>"$log"
  sam local invoke "$(logical "$1")" --event - "${sam_local[@]}" 2>>"$log" | tail -1
}

# remove_containers: removes the containers that SAM leaves behind when it is stopped. Its log names them.
remove_containers() {
  sed -n 's/^SAM_CONTAINER_ID: //p' "$log" | xargs -r docker rm --force >/dev/null 2>&1 || true
}

# outcome EXPECTED RESPONSE: the outcome in the words of events/scenario.txt, which explains them.
outcome() {
  jq --raw-output --arg expected "$1" '
    if type == "object" and has("errorMessage") then "error"
    elif $expected | startswith("failures=") then
      if (.batchItemFailures? | type) == "array" then "failures=\(.batchItemFailures | length)" else "no batch" end
    elif $expected == "ok" then "ok"
    else (.statusCode? // "no status") end' <<<"$2" 2>/dev/null | grep . || echo "no answer"
}

# play SENDER: sends each event through SENDER, and compares the response with the expected outcome. SENDER takes the
# event's name as argument and the event on stdin, and prints the function's response.
play() {
  local sender=$1 event expected captures capture name text answer actual played=0 wrong=0
  local -A values
  # Python formats the time, since the options of `date` differ between systems.
  read -r "values[now]" "values[expires_at]" < <("$python" -c 'import datetime as d
now = d.datetime.now(d.timezone.utc)
print(*(t.strftime("%Y-%m-%dT%H:%M:%S.000Z") for t in (now, now + d.timedelta(30))))')

  for text in events/*.json; do
    name=$(basename "$text" .json)
    grep -q "^$name " events/scenario.txt || fail "$text is not in events/scenario.txt."
  done

  while read -r event expected captures <&3; do
    [[ -n $event && $event != '#'* ]] || continue
    text=$(<"events/$event.json")
    for name in "${!values[@]}"; do
      text=${text//"{{$name}}"/"${values[$name]}"}
    done
    answer=$("$sender" "$event" <<<"$text")
    actual=$(outcome "$expected" "$answer")
    played=$((played + 1))
    if [ "$actual" = "$expected" ]; then
      say "  $actual  $event"
    else
      wrong=$((wrong + 1))
      say "  $actual  $event, not $expected: $answer"
    fi
    for capture in $captures; do
      values[${capture%%=*}]=$(jq -r ".body | fromjson | ${capture#*=}" <<<"$answer" 2>/dev/null || true)
    done
  done 3<events/scenario.txt
  printf '%d passed, %d failed\n' $((played - wrong)) "$wrong"
  [ "$wrong" = 0 ]
}
