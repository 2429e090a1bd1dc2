# Sourced: plays events/life.txt, the life in which every sample event happens once or more.
# shellcheck shell=bash disable=SC2154

# play SENDER: sends each event through the function SENDER (event's name as argument, event on stdin), which answers
# {"statusCode", "body"}, and checks the status.
play() {
  local sender=$1 event expected captures capture name text answer status played=0 wrong=0
  local -A values
  values[expires_at]=$("$python" -c 'import datetime as d
print((d.datetime.now(d.timezone.utc) + d.timedelta(30)).strftime("%Y-%m-%dT%H:%M:%S.000Z"))')

  for text in events/*.json; do
    name=$(basename "$text" .json)
    grep -q "^$name " events/life.txt || fail "$text is not in events/life.txt."
  done

  while read -r event expected captures <&3; do
    [[ -n $event && $event != '#'* ]] || continue
    text=$(<"events/$event.json")
    for name in "${!values[@]}"; do
      text=${text//"{{$name}}"/"${values[$name]}"}
    done
    answer=$("$sender" "$event" <<<"$text")
    status=$(jq -r '.statusCode // "none"' <<<"$answer" 2>/dev/null || echo none)
    played=$((played + 1))
    if [ "$status" = "$expected" ]; then
      say "  $status  $event"
    else
      wrong=$((wrong + 1))
      say "  $status  $event, not $expected: $answer"
    fi
    for capture in $captures; do
      values[${capture%%=*}]=$(jq -r ".body | fromjson | ${capture#*=}" <<<"$answer" 2>/dev/null || true)
    done
  done 3<events/life.txt
  printf '%d passed, %d failed\n' $((played - wrong)) "$wrong"
  [ "$wrong" = 0 ]
}
