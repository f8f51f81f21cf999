#!/usr/bin/env bash
# ASYNC jobs: of a program of ours, and of openssl s_server -async under many clients.
# usage: jobs.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

names=(
  "jobs: 64 at once on one thread"
  "jobs: a connection serves its wait context again and again"
  "jobs: paused and abandoned"
  "jobs: in 8 threads"
  "jobs: two of one wait context"
  "jobs: paused at a fork, finished in both processes"
  "jobs: the process ends while they are paused"
  "jobs: the daemon is silent"
  "jobs: the daemon dies while they are paused"
  "s_server -async: many clients at once"
  "s_server -async: the daemon restarts"
  "s_server -async: clients that leave in the middle"
)
if [ -n "$preload" ]; then
  for name in "${names[@]}"; do cannot "$name" "the sanitizer does not know fibres"; done
  finish
fi
conf openssl.cnf "default keyvault" "async = on" "reply-timeout-ms = 4000" "connect-timeout-ms = 4000"
keys="keyvault:///keys/p256 keyvault:///keys/rsa keyvault:///keys/ed25519"
jobs() { with "$dir/openssl.cnf" "$build/tests/integration/provider/jobs" "$@"; }
start_keyring "$dir/state" slow
# shellcheck disable=SC2086 # a list of keys
{
  ok "${names[0]}" jobs together $keys
  ok "${names[2]}" jobs abandoned $keys
  ok "${names[3]}" jobs threads $keys
  ok "${names[4]}" jobs shared $keys
  ok "${names[5]}" jobs forked $keys
  ok "${names[6]}" jobs paused-at-exit $keys
  KEYVAULT_TEST_DAEMON=$keyring_pid
  export KEYVAULT_TEST_DAEMON
  ok "${names[8]}" jobs daemon-dies $keys
  wait "$keyring_pid" 2>/dev/null
  start_keyring
  ok "${names[1]}" jobs again $keys
  stop_keyring
  start_keyring "$dir/state" hang
  conf openssl.cnf "default keyvault" "async = on"
  ok "${names[7]}" jobs silence keyvault:///keys/p256
  stop_keyring
}

# --- a TLS server ------------------------------------------------------------------
start_keyring
"$keyringd" --keyref "$sock" p256 >p256.uri.pem
ossl x509 -in keyvault:///certificates/p256 -out p256.crt
serve() {
  : >server.log
  ossl s_server -async -accept 127.0.0.1:0 -www -key p256.uri.pem -cert p256.crt >server.log 2>&1 &
  server=$!
  pids+=("$server")
  for _ in $(seq 100); do
    port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server.log)
    [ -z "$port" ] || return 0
    sleep 0.05
  done
  cat server.log
  return 1
}
fetch() {
  printf 'GET / HTTP/1.0\r\n\r\n' | OPENSSL_CONF=/dev/null timeout 20 openssl s_client -connect "127.0.0.1:$port" \
    -CAfile p256.crt -ign_eof >"client.$1" 2>&1
  grep -q "HTTP/1.0 200" "client.$1"
}
many() {
  local clients=() i rc=0
  for i in $(seq "$1"); do
    fetch "$i" &
    clients+=("$!")
  done
  for i in "${clients[@]}"; do wait "$i" || rc=1; done
  return $rc
}
leave() { # half a handshake, then gone
  local i
  for i in 1 2 3; do
    OPENSSL_CONF=/dev/null timeout 0.02 openssl s_client -connect "127.0.0.1:$port" </dev/null >/dev/null 2>&1
  done
  fetch after
}
restart() {
  fetch before || return 1
  stop_keyring
  ! fetch meanwhile || return 1
  start_keyring
  fetch after
}
ok "s_server -async starts" serve
ok "${names[9]}" many 5 # it takes a second for each
ok "${names[11]}" leave
ok "${names[10]}" restart
finish
