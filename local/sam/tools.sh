#!/usr/bin/env bash
# Installs SAM CLI, cargo-lambda and its linker into target/sam. `tools.sh lint` installs checkov as well.
. "$(dirname "$0")/common.sh"

need cargo "install Rust with rustup (https://rustup.rs)."
need python3 "install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)."

# install FOLDER REQUIREMENTS: installs once for each version of the requirements.
install() {
  cmp -s "$2" "$1/installed.txt" && return 0
  say "Installing $(grep -v '^#' "$2" | tr '\n' ' ')into ${1#"$root"/} ..."
  python3 -m venv "$1" ||
    fail "Python cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv)."
  "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"
  cp "$2" "$1/installed.txt"
}

install "$state/venv" "$here/requirements.txt"
[ "${1:-}" != lint ] || install "$state/lint" "$here/requirements-lint.txt"
