#!/usr/bin/env bash
# Provides a Docker engine and Lambda's base image for `sam local`: docker.sh up | down. It uses the running engine, or
# starts one as root. It uses AWS's image when that can be pulled, or builds one from Debian's packages.
. "$(dirname "$0")/common.sh"
folder=$state/docker
debian=bookworm

engine_up() {
  docker info >/dev/null 2>&1 && return 0
  [ "$(id -u)" = 0 ] ||
    fail "No Docker engine answers: install and start one (https://docs.docker.com/engine/install), or run this as root."
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    command -v apt-get >/dev/null || fail "dockerd or docker is missing: see https://docs.docker.com/engine/install."
    say "Installing docker.io ..."
    # From Debian 13 on, the client is a separate package.
    {
      apt-get update && apt-get install --yes --no-install-recommends docker.io &&
        { command -v docker || apt-get install --yes docker-cli; }
    } >"$state/apt.log" 2>&1 || fail "docker.io could not be installed; see $state/apt.log."
  fi
  mkdir -p "$folder"
  # The path of a socket has at most 108 characters.
  local run
  run=$(mktemp -d /tmp/sam-docker.XXXXXX)
  echo "$run" >"$folder/run"
  ip link show docker0 >/dev/null 2>&1 || touch "$folder/made-bridge"
  # In a session of its own, so that Ctrl-C reaches this script first, which stops the containers before the engine.
  setsid dockerd --host "unix://$run/docker.sock" --data-root "$folder/data" --exec-root "$run/exec" \
    --pidfile "$run/dockerd.pid" >"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  export DOCKER_HOST=unix://$run/docker.sock
  await 60 "dockerd (its log: $folder/log)" answers_or_ended "$!"
  docker info >/dev/null 2>&1 ||
    fail "dockerd cannot run here (it needs a machine, or a privileged container): $(grep -m1 '^failed to start' "$folder/log" || tail -1 "$folder/log")"
  echo "$DOCKER_HOST" >"$folder/host"
}

answers_or_ended() { docker info || ! kill -0 "$1"; }

image_up() {
  docker image inspect "$lambda_image" >/dev/null 2>&1 && return 0
  if timeout 300 docker pull --quiet "$lambda_image" >/dev/null 2>&1; then return 0; fi
  say "AWS's base image cannot be had here: making one from Debian $debian ..."
  [ "$(id -u)" = 0 ] || fail "Making the base image needs root, or let this machine reach public.ecr.aws."
  if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || fail "debootstrap is missing: install it, or let this machine reach public.ecr.aws."
    { apt-get update && apt-get install --yes --no-install-recommends debootstrap; } >"$state/apt.log" 2>&1 ||
      fail "debootstrap could not be installed; see $state/apt.log."
  fi
  local tree=$folder/rootfs
  rm -rf "$tree"
  debootstrap --variant=minbase "$debian" "$tree" >"$folder/debootstrap.log" 2>&1 ||
    fail "debootstrap failed; see $folder/debootstrap.log."
  # The directories that Lambda's image has for the function, its runtime and its layers.
  mkdir -p "$tree/var/task" "$tree/var/runtime" "$tree/opt"
  tar -C "$tree" -c . | docker import - "$lambda_image" >/dev/null
  rm -rf "$tree"
}

case ${1:-} in
up)
  engine_up
  image_up
  ;;
down)
  [ -f "$folder/pid" ] || exit 0
  end_pid "$folder/pid"
  rm -rf "$(cat "$folder/run")" "$folder/run" "$folder/host"
  if [ -f "$folder/made-bridge" ]; then
    ip link delete docker0 2>/dev/null || true
    rm "$folder/made-bridge"
  fi
  ;;
*) fail "usage: $0 up | down" ;;
esac
