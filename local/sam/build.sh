#!/usr/bin/env bash
# Builds every function into .aws-sam/build and prints the size of each. ARCHITECTURE=arm64 builds for Graviton.
. "$(dirname "$0")/common.sh"
"$here/tools.sh"

# One cargo builds all functions and links as many concurrently as there are cores. `sam build` builds one after the
# other, and then finds everything built.
packages=()
while read -r binary; do packages+=(--package "$binary"); done < <(binaries)
[ "${ARCHITECTURE:-}" != arm64 ] || packages+=(--arm64)
cargo lambda build --release --locked "${packages[@]}"
sam build --parameter-overrides "Architecture=${ARCHITECTURE:-x86_64}"

printf '%-16s %9s %9s\n' function bytes zipped
for function in .aws-sam/build/*/; do
  # Amazon Linux 2023 has glibc 2.34. A binary that needs a newer glibc still runs on a machine that has one.
  newest=$(grep -ao 'GLIBC_2\.[0-9]*' "$function/bootstrap" | sort -uV | tail -1)
  [ "${newest#GLIBC_2.}" -le 34 ] || fail "$(basename "$function") needs $newest, Lambda has GLIBC_2.34."
  printf '%-16s %9d %9d\n' "$(basename "$function")" "$(wc -c <"$function/bootstrap")" \
    "$(gzip -c "$function/bootstrap" | wc -c)"
done
