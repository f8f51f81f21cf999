#!/usr/bin/env bash
# TLS with vault keys on either side, key type by key type and version by version:
# docs/provider.md shows the table. The other side is an openssl without the module.
# usage: tls.sh BUILD-DIRECTORY    with the fake keyring
#        real.py BUILD-DIRECTORY tls.sh    with keyvaultd --dev
# shellcheck source=/dev/null disable=SC2086,SC2154 # lib.sh; lists of keys
. "$(dirname "$0")/lib.sh"
. "$(dirname "$script")/keys.sh"
. "$(dirname "$script")/tls_lib.sh"
for k in $keys; do cat "$k.crt"; done >all.crt

scheme() { # scheme KEY: the signature that only this type of key makes
  case "$1" in
    rsa*) echo rsa_pss_rsae_sha256 ;;
    p256) echo ecdsa_secp256r1_sha256 ;;
    p384) echo ecdsa_secp384r1_sha384 ;;
    p521) echo ecdsa_secp521r1_sha512 ;;
    p256k) echo ECDSA+SHA256 ;;
    ed25519) echo ed25519 ;;
  esac
}
curves="secp256k1:P-256:P-384:P-521:X25519"

# --- the vault key at the server ----------------------------------------------------
# One server has one key of each kind, so two share a start.
serve_keys() { # serve_keys KIND KEY...: KIND is uri or file
  local kind=$1 option=(key dkey) cert=(cert dcert) args=() i=0 k
  shift
  for k; do
    if [ "$kind" = uri ]; then
      args+=("-${option[i]}" "$(key_uri "$k")" "-${cert[i]}" "$(cert_uri "$k")")
    else
      args+=("-${option[i]}" "$k.uri.pem" "-${cert[i]}" "$k.crt")
    fi
    i=$((i + 1))
  done
  serve ossl -curves $curves "${args[@]}"
}
signs() { # signs KEY VERSION SCHEME...: a handshake by each scheme
  local k=$1 version=$2 s
  shift 2
  for s; do fetch all.crt "$(vault_name "$k")" "-$version" -curves $curves -sigalgs "$s" || return 1; done
}
tls13() { signs "$1" tls1_3 "$(scheme "$1")"; }
tls12() { signs "$1" tls1_2 "$(scheme "$1")"; }
tls13_rsa() { signs "$1" tls1_3 rsa_pss_rsae_sha256 rsa_pss_rsae_sha384 rsa_pss_rsae_sha512; }
tls12_pkcs1() { signs "$1" tls1_2 RSA+SHA256 RSA+SHA384 RSA+SHA512; }
key_exchange() {
  local cipher
  for cipher in AES128-GCM-SHA256 AES256-SHA; do
    fetch all.crt "$(vault_name "$1")" -tls1_2 -cipher $cipher || return 1
  done
}
for kind in uri file; do
  by=
  [ $kind = uri ] || by=" key file"
  for group in "rsa2048 p256" "rsa3072 p384" "rsa4096 p521" "p256k ed25519"; do
    group=$(among $group)
    [ -n "$group" ] || continue
    ok "s_server starts$by, $group" serve_keys $kind $group
    for k in $group; do
      each "s_server TLS 1.2$by" tls12 $k
      case $k in
        p256k) ;;
        rsa*)
          each "s_server TLS 1.3$by" tls13_rsa $k
          each "s_server TLS 1.2 PKCS#1$by" tls12_pkcs1 $k
          each "s_server TLS 1.2 RSA key exchange$by" key_exchange $k
          ;;
        *) each "s_server TLS 1.3$by" tls13 $k ;;
      esac
    done
    stop_server
  done
done
# TLS 1.3 has no signature for secp256k1.
impossible() { # impossible COMMAND KEY CERT
  local rc
  serve "$1" -curves $curves -key "$2" -cert "$3" || return 99
  get plain -CAfile all.crt -tls1_3 -curves $curves
  rc=$?
  stop_server
  return $rc
}
if [ -n "$(among p256k)" ]; then
  no "s_server TLS 1.3 p256k" "alert protocol version" impossible ossl "$(key_uri p256k)" p256k.crt
  no "s_server TLS 1.3 p256k, from a file" "alert protocol version" \
    impossible plain "$(soft p256k)" p256k.crt
fi

# --- the vault key at the client ----------------------------------------------------
client() { # client KEY VERSION: by URI and by key file; the server shows whom it saw
  local key
  for key in "$(key_uri "$1")" "$1.uri.pem"; do
    get ossl -CAfile all.crt "-$2" -curves $curves -key "$key" -cert "$1.crt" &&
      grep -q "Subject: CN *= *$(vault_name "$1")" client.log || return 1
  done
}
client12() { client "$1" tls1_2; }
client13() { client "$1" tls1_3; }
ok "a server that asks for certificates" serve plain -key "$(soft rsa2048)" -cert rsa2048.crt \
  -Verify 2 -verify_return_error -CAfile all.crt -curves $curves
each "s_client TLS 1.2" client12 $all
each "s_client TLS 1.3" client13 $rsa $nist ed25519
[ -z "$(among p256k)" ] || no "s_client TLS 1.3 p256k" "alert certificate required" client13 p256k
stop_server
finish
