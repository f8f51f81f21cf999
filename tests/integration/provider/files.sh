#!/usr/bin/env bash
# Key files, and what is refused whatever the type of the key. matrix.sh has the commands
# of openssl(1) key by key, store.sh the URIs.
# usage: files.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault"
start_keyring
echo "the message" >msg
plain dgst -sha256 -binary -out hash msg
u() { echo "keyvault:///keys/$1"; }
for k in rsa p256; do
  plain pkey -in "state/$k.pem" -pubout -out "$k.pub"
  "$keyringd" --keyref "$sock" "$k" >"$k.uri.pem"
  ossl x509 -in "keyvault:///certificates/$k" -out "$k.crt"
done
"$keyringd" --keyref "$sock" rsa follow >rsa.follow.pem

lists_providers() {
  ossl list -providers >out 2>&1 && grep -q 'name: keyvault' out && ! grep -qi unable out
}
ok "list providers without warning" lists_providers

# --- what is refused, and how -------------------------------------------------
ok "rsa -noout -modulus" ossl rsa -in "$(u rsa)" -noout -modulus
follows() { ossl pkey -in rsa.follow.pem -pubout | cmp - rsa.pub; }
ok "follow file: the current version" follows
sign() { # sign KEY OPTIONS...
  local k=$1
  shift
  ossl dgst -sign "$(u "$k")" -out sig "$@" msg
}
no "dgst md5 is not offered" "not offered" sign rsa -md5
no "dgst X9.31 is not offered" "not offered\|PKCS#1" sign rsa -sha256 -sigopt rsa_padding_mode:x931
no "PSS salt too long" "too small" sign rsa -sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:500
no "pkeyutl wrong length" "as long as its digest" \
  ossl pkeyutl -sign -inkey "$(u rsa)" -pkeyopt digest:sha384 -in hash -out sig

# --- keys are made by the vault --------------------------------------------------
forced="-propquery provider=keyvault"
# shellcheck disable=SC2086 # options
genpkey() { ossl genpkey $forced -algorithm "$@" -out made.pem; }
# shellcheck disable=SC2086 # options
newkey() { ossl req $forced -x509 -newkey "$@" -subj /CN=x -nodes -keyout made.pem -out made.crt; }
create='make the key with `keyvault key create NAME'
no "genpkey RSA" "$create" genpkey RSA
no "genpkey EC" "$create" genpkey EC -pkeyopt ec_paramgen_curve:P-256
no "genpkey ED25519" "$create" genpkey ED25519
no "req -newkey RSA" "$create" newkey rsa:2048
no "req -newkey EC" "$create" newkey ec -pkeyopt ec_paramgen_curve:P-256
no "req -newkey ED25519" "$create" newkey ed25519
no "nothing was made" "No such file" ls made.pem made.crt

# --- files ---------------------------------------------------------------------
cat p256.crt p256.uri.pem >bundle.pem
cat rsa.crt p256.crt p256.uri.pem >deep.pem
behind() { ossl dgst -sha256 -sign "$1" -out sig msg && plain dgst -sha256 -verify p256.pub -signature sig msg; }
ok "key behind a certificate" behind bundle.pem
ok "key behind two certificates" behind deep.pem
cat state/p256.pem >mixed.pem
cat rsa.uri.pem >>mixed.pem
ok "an ordinary key in front wins" behind mixed.pem
sed 's/^MII/MIJ/' rsa.uri.pem >broken.pem
no "broken key file" "" ossl pkey -in broken.pem -pubout
sed 's/KEYVAULT KEY URI/KEYVAULT KEY URX/' rsa.uri.pem >foreign.pem
no "foreign label" "" ossl pkey -in foreign.pem -pubout
no "without the module: the message of the manual" "unsupported" plain pkey -in rsa.uri.pem -pubout
ok "x509 on a key file asks nobody" bash -c "! OPENSSL_CONF=$dir/openssl.cnf LD_PRELOAD='$preload' openssl x509 -in rsa.uri.pem"
if command -v python3 >/dev/null; then
  python_ssl() {
    with "$dir/openssl.cnf" python3 -c "
import ssl
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain('rsa.crt', 'rsa.uri.pem')
c.load_cert_chain('bundle.pem')"
  }
  ok "Python's ssl loads key file and bundle" python_ssl
fi
finish
