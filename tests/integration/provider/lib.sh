# Shared by the scripts of this folder: a scratch directory, a fake keyring, openssl
# with and without the module, and checks that count. Source it with the build
# directory in $1; call `finish` at the end.
# shellcheck shell=bash
set -u
script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
build=$(cd "$1" && pwd) || exit 2
module=$build/keyvault.so
keyringd=$build/tests/support/fake_keyringd
dir=$(mktemp -d "${TMPDIR:-/tmp}/keyvault-cli.XXXXXX")
cd "$dir" || exit 2
sock=$dir/keys.sock
uid=$(id -u)
keyring_pid=
passed=0
failed=0
pids=()
unset KEYVAULT_KEYS_SOCKET OPENSSL_CONF OPENSSL_MODULES

# A sanitized module needs its runtime in the unsanitized openssl.
preload=
case "$(ldd "$module")" in
  *libasan*) preload=$(ldd "$module" | awk '/libasan|libubsan/ {print $3}' | tr '\n' ' ') ;;
esac
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0

cleanup() {
  local pid
  for pid in "${pids[@]}" $keyring_pid; do
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  cd / && rm -rf "$dir"
}
trap cleanup EXIT

# conf FILE PROVIDERS [EXTRA LINE OF THE KEYVAULT SECTION]...
conf() {
  local file=$1 order=$2 p
  shift 2
  {
    echo "openssl_conf = init"
    echo "[init]"
    echo "providers = providers"
    case "$order" in *preferred*) echo "alg_section = algs" ;; esac
    echo "[algs]"
    echo "default_properties = ?provider=keyvault"
    echo "[providers]"
    for p in ${order//preferred/}; do echo "$p = ${p}_section"; done
    echo "[default_section]"
    echo "activate = 1"
    echo "[keyvault_section]"
    echo "module = $module"
    echo "activate = 1"
    echo "socket = $sock"
    echo "server-uid = $uid"
    echo "connect-timeout-ms = 700"
    echo "reply-timeout-ms = 900"
    for p in "$@"; do echo "$p"; done
    echo "[req]"
    echo "distinguished_name = dn"
    echo "[dn]"
  } >"$file"
}

# with FILE COMMAND...: run with that configuration and the module
with() {
  local file=$1
  shift
  LD_PRELOAD=$preload OPENSSL_CONF=$file "$@"
}
ossl() { with "$dir/openssl.cnf" openssl "$@"; }
# plain ARGS...: openssl that knows nothing of keyvault
plain() { OPENSSL_CONF=/dev/null openssl "$@"; }

start_keyring() { # start_keyring [STATE] [MODE]
  mkdir -p "$dir/state"
  : >"$dir/ready"
  "$keyringd" "$sock" "${1-$dir/state}" "${2-good}" >"$dir/ready" &
  keyring_pid=$!
  local i
  for i in $(seq 100); do
    [ -s "$dir/ready" ] && return 0
    sleep 0.1
  done
  echo "the fake keyring does not start (try $i)"
  exit 1
}
stop_keyring() {
  kill "$keyring_pid"
  wait "$keyring_pid" 2>/dev/null
  keyring_pid=
}

# ok NAME COMMAND...: the command must succeed
ok() {
  local name=$1
  shift
  if "$@" >"$dir/log" 2>&1; then
    passed=$((passed + 1))
    echo "$name" >>"$dir/passed"
  else
    failed=$((failed + 1))
    echo "not ok $name"
    sed 's/^/    /' "$dir/log" | head -20
  fi
}
# no NAME PATTERN COMMAND...: the command must fail, say PATTERN, and not crash
no() {
  local name=$1 pattern=$2 rc
  shift 2
  "$@" >"$dir/log" 2>&1
  rc=$?
  if [ "$rc" -ne 0 ] && [ "$rc" -lt 126 ] && { [ -z "$pattern" ] || grep -q -e "$pattern" "$dir/log"; }; then
    passed=$((passed + 1))
    echo "$name" >>"$dir/passed"
  else
    failed=$((failed + 1))
    echo "not ok $name (exit $rc, wanted \"$pattern\")"
    sed 's/^/    /' "$dir/log" | head -20
  fi
}
# within SECONDS COMMAND...: exit status of the command, 99 if it took longer
within() {
  local limit=$1 start rc
  shift
  start=$(date +%s%N)
  "$@"
  rc=$?
  [ $((($(date +%s%N) - start) / 1000000)) -le $((limit * 1000)) ] || return 99
  return $rc
}
# cannot NAME WHY: a check that this build or machine cannot make
cannot() {
  echo "cannot check \"$1\": $2"
  echo "$1" >>"$dir/passed"
}
# Every check that docs/provider.md names has passed (or cannot be made here).
documented() {
  local root=${script%/tests/integration/*}
  "$root/tests/structure/provider_table.sh" --names "${script#"$root"/tests/integration/}" |
    grep -vxFf "$dir/passed" | sed 's/^/docs\/provider.md names: /'
  [ "${PIPESTATUS[1]}" = 1 ]
}
finish() {
  [ -n "${KEYVAULT_TEST_KEYS-}" ] || ok "docs/provider.md names no other check" documented
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
