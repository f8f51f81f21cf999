#!/usr/bin/env bash
# A TLS server that lives: chains, ASYNC jobs, a keyring that goes away and comes back.
# usage: tls_life.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"
. "$(dirname "$script")/tls_lib.sh"

conf openssl.cnf "default keyvault"
start_keyring
for k in rsa p256 web; do
  "$keyringd" --keyref "$sock" "$k" >"$k.uri.pem"
  ossl storeutl -certs "keyvault:///certificates/$k" >"$k.chain.pem"
  awk '/BEGIN/ {n++} n == 1 {print}' "$k.chain.pem" >"$k.crt"
done
awk '/BEGIN/ {n++} n == 2 {print}' web.chain.pem >web.ca.pem

chain() {
  local rc
  serve ossl -key keyvault:///keys/web -cert keyvault:///certificates/web \
    -cert_chain keyvault:///certificates/web || return 1
  fetch web.ca.pem localhost -tls1_3
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
  serve ossl -async -key "$key" -cert "$cert" || return 1
  for _ in 1 2 3; do fetch "$cert" "" "$@" || rc=1; done
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

# A server goes on after its keyring was restarted, and refuses a replaced key.
restart() {
  local rc
  serve ossl -key p256.uri.pem -cert p256.crt || return 1
  fetch p256.crt p256 -tls1_3 || return 1
  stop_keyring
  ! fetch p256.crt p256 -tls1_3 >/dev/null || return 1
  start_keyring
  fetch p256.crt p256 -tls1_3
  rc=$?
  stop_server
  return $rc
}
ok "handshakes go on after a restart of the keyring" restart
replaced() {
  serve ossl -key p256.uri.pem -cert p256.crt || return 1
  fetch p256.crt p256 -tls1_3 || return 1
  stop_keyring
  start_keyring ""
  ! fetch p256.crt p256 -tls1_3 >/dev/null || return 1
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
