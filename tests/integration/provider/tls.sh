#!/usr/bin/env bash
# TLS with vault keys on either side: s_server and s_client over loopback.
# usage: tls.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault"
start_keyring
for k in rsa p256 p384 p521 ed25519 web; do
  "$keyringd" --keyref "$sock" "$k" >"$k.uri.pem"
  ossl storeutl -certs "keyvault:///certificates/$k" >"$k.chain.pem"
  awk '/BEGIN/ {n++} n > 0 {print > "'"$k"'." n ".pem"}' "$k.chain.pem"
  awk '/BEGIN/ {n++} n == 1 {print}' "$k.chain.pem" >"$k.crt"
done
awk '/BEGIN/ {n++} n == 2 {print}' web.chain.pem >web.ca.pem

server_pid=
port=
serve() { # serve S_SERVER-ARGS...
  : >server.log
  ossl s_server -accept 127.0.0.1:0 -naccept 20 -www "$@" >server.log 2>&1 &
  server_pid=$!
  pids+=("$server_pid")
  local i
  for i in $(seq 100); do
    port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server.log)
    [ -n "$port" ] && return 0
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "s_server does not listen (try $i)"
  cat server.log
  return 1
}
stop_server() {
  kill "$server_pid" 2>/dev/null
  wait "$server_pid" 2>/dev/null
}
fetch() { # fetch CA S_CLIENT-ARGS...
  local ca=$1
  shift
  printf 'GET / HTTP/1.0\r\n\r\n' |
    timeout 10 env OPENSSL_CONF=/dev/null openssl s_client -connect "127.0.0.1:$port" \
      -servername localhost -verify_return_error -CAfile "$ca" -ign_eof "$@" >client.log 2>&1
  grep -q "HTTP/1.0 200" client.log || {
    cat server.log client.log
    return 1
  }
}
handshake() { # handshake KEY CERT S_CLIENT-ARGS...
  local key=$1 cert=$2 rc
  shift 2
  serve -key "$key" -cert "$cert" || return 1
  fetch "$cert" "$@"
  rc=$?
  stop_server
  return $rc
}
for k in rsa p256 p384 p521 ed25519; do
  for v in tls1_2 tls1_3; do
    ok "$v $k by URI" handshake "keyvault:///keys/$k" "$k.crt" -$v
  done
  ok "tls1_3 $k by PEM file" handshake "$k.uri.pem" "$k.crt" -tls1_3
done
for sig in RSA-PSS+SHA256 RSA-PSS+SHA384 RSA-PSS+SHA512 RSA+SHA256 RSA+SHA512; do
  ok "tls1_2 rsa $sig" handshake keyvault:///keys/rsa rsa.crt -tls1_2 -sigalgs $sig
done
ok "tls1_2 RSA key exchange" handshake keyvault:///keys/rsa rsa.crt -tls1_2 -cipher AES128-GCM-SHA256
ok "tls1_2 RSA key exchange by PEM file" handshake rsa.uri.pem rsa.crt -tls1_2 -cipher AES256-GCM-SHA384
ok "key and certificate both by URI" bash -c "$(declare -f handshake serve stop_server fetch ossl with); pids=(); dir=$dir preload='$preload'
  serve -key keyvault:///keys/rsa -cert keyvault:///certificates/rsa && fetch rsa.crt -tls1_3; rc=\$?; stop_server; exit \$rc"

chain() {
  local rc
  serve -key keyvault:///keys/web -cert keyvault:///certificates/web \
    -cert_chain keyvault:///certificates/web || return 1
  fetch web.ca.pem -tls1_3
  rc=$?
  stop_server
  return $rc
}
ok "chain from the vault" chain

# ASYNC jobs: the handshake pauses in our signature.
conf async.cnf "default keyvault" "async = on"
cp openssl.cnf sync.cnf
cp async.cnf openssl.cnf
async() { # async KEY CERT S_CLIENT-ARGS...
  local key=$1 cert=$2 rc=0
  shift 2
  serve -async -key "$key" -cert "$cert" || return 1
  for _ in 1 2 3; do fetch "$cert" "$@" || rc=1; done
  stop_server
  return $rc
}
if [ -z "$preload" ]; then # AddressSanitizer reports the longjmp() of fibres
  ok "async, tls1_3" async p256.uri.pem p256.crt -tls1_3
  ok "async, tls1_2" async keyvault:///keys/p256 p256.crt -tls1_2
  ok "async, tls1_2 RSA key exchange" async rsa.uri.pem rsa.crt -tls1_2 -cipher AES128-GCM-SHA256
else
  for check in tls1_3 tls1_2 "tls1_2 RSA key exchange"; do
    cannot "async, $check" "AddressSanitizer"
  done
fi
cp sync.cnf openssl.cnf

# Client authentication: plain server, vault key at the client.
client_auth() { # client_auth KEY CERT VERSION
  local rc
  : >server.log
  OPENSSL_CONF=/dev/null openssl s_server -accept 127.0.0.1:0 -naccept 1 -www -key state/rsa.pem \
    -cert rsa.crt -Verify 2 -verify_return_error -CAfile "$2" >server.log 2>&1 &
  server_pid=$!
  pids+=("$server_pid")
  for _ in $(seq 100); do
    port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server.log)
    [ -n "$port" ] && break
    sleep 0.05
  done
  printf 'GET / HTTP/1.0\r\n\r\n' | with "$dir/openssl.cnf" timeout 10 openssl s_client \
    -connect "127.0.0.1:$port" -"$3" -CAfile rsa.crt -ign_eof -key "$1" -cert "$2" >client.log 2>&1
  grep -q "HTTP/1.0 200" client.log
  rc=$?
  stop_server
  [ $rc = 0 ] || cat server.log client.log
  return $rc
}
for k in rsa p256 ed25519; do
  ok "client key $k, tls1_2" client_auth "keyvault:///keys/$k" "$k.crt" tls1_2
  ok "client key $k, tls1_3" client_auth "keyvault:///keys/$k" "$k.crt" tls1_3
done

# A server goes on after its keyring was restarted, and refuses a replaced key.
restart() {
  local rc
  serve -key p256.uri.pem -cert p256.crt || return 1
  fetch p256.crt -tls1_3 || return 1
  stop_keyring
  ! fetch p256.crt -tls1_3 >/dev/null || return 1
  start_keyring
  fetch p256.crt -tls1_3
  rc=$?
  stop_server
  return $rc
}
ok "handshakes go on after a restart of the keyring" restart
replaced() {
  serve -key p256.uri.pem -cert p256.crt || return 1
  fetch p256.crt -tls1_3 || return 1
  stop_keyring
  start_keyring ""
  ! fetch p256.crt -tls1_3 >/dev/null || return 1
  stop_server
  grep -q "not the one that was loaded" server.log || {
    cat server.log
    return 1
  }
  stop_keyring
  start_keyring
}
ok "a replaced key is refused" replaced
finish
