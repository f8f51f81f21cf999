#!/usr/bin/env bash
# The Azure SDK for JavaScript, as its registry has it, against keyvaultd --dev.
# One "ok" or "not ok" line for each test; what went wrong stands before its line.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${KEYVAULT_BUILD:-$PWD/build}
work=$(mktemp -d "${TMPDIR:-/tmp}/keyvault-sdk.XXXXXX")
chmod 711 "$work"
keyvaultd=
finish() {
  [ -z "$keyvaultd" ] || { kill "$keyvaultd" 2>/dev/null && wait "$keyvaultd"; }
  rm -rf "$work"
}
trap finish EXIT
die() {
  [ ! -s "$work/keyvaultd.log" ] || tail -n 20 "$work/keyvaultd.log"
  echo "not ok sdk: $*"
  exit 1
}

npm ci --prefix tests/sdk --no-progress --no-audit --no-fund || die "npm ci"
"$build/keyvaultd" --dev "$work/dev" --listen 127.0.0.1:0 >"$work/keyvaultd.log" 2>&1 &
keyvaultd=$!
for _ in $(seq 150); do
  grep -q '^keyvaultd: ready' "$work/keyvaultd.log" && break
  kill -0 "$keyvaultd" 2>/dev/null || die "keyvaultd ended"
  sleep 0.1
done
grep -q '^keyvaultd: ready' "$work/keyvaultd.log" || die "keyvaultd is not ready after 15 s"

# shellcheck disable=SC1091 # written by keyvaultd
. "$work/dev/env"
export NODE_EXTRA_CA_CERTS=$KEYVAULT_CA
options=(--test --test-reporter=tap)
# The SDK wants the global `crypto`, which Node.js 18 has behind this flag.
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 0 : 1)' &&
  options+=(--experimental-global-webcrypto)
node "${options[@]}" tests/sdk/sdk.mjs >"$work/tap"
status=$?
# A result's own lines come after it in TAP; tests/run.sh shows what comes before.
awk '
  function flush() { if (result != "") { printf "%s", detail; print result }; result = ""; detail = "" }
  /^ *(not )?ok [0-9]+/ { flush(); result = $0; sub(/^ +/, "", result); next }
  result != "" && /^ *(---|\.\.\.)$/ { next }
  result ~ /^not ok/ && /^ +/ { detail = detail $0 "\n"; next }
  /^#/ && !/^# Subtest/ { flush(); print }
  END { flush() }
' "$work/tap"
[ $status = 0 ] || grep -q '^ *not ok' "$work/tap" || die "node ended with $status"
kill "$keyvaultd"
wait "$keyvaultd" || die "keyvaultd ended with $?"
keyvaultd=
