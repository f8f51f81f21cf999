#!/usr/bin/env bash
# keyvault: URIs as STORE objects: what they yield, how listings are searched, what is
# said about bad ones.
# usage: store.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault"
start_keyring
plain pkey -in state/p384.pem -pubout -out p384.pub

# --- what a URI yields ---------------------------------------------------------
printed_uris_load_back() {
  local uri
  ossl storeutl -noout keyvault: >out 2>&1 || return 1
  [ "$(grep -c '^[0-9]*: Name: ' out)" = 14 ] || return 1
  sed -n 's/^[0-9]*: Name: //p' out >uris
  while read -r uri; do
    ossl storeutl -noout "$uri" || return 1
  done <uris
}
ok "listing: every printed URI loads back" printed_uris_load_back
count() { # count N STOREUTL-ARGS...
  local n=$1
  shift
  ossl storeutl -noout "$@" >out 2>&1
  cat out
  grep -q "^Total found: $n\$" out
}
ok "short URI: key and certificate" count 2 keyvault:rsa
ok "short URI: key, then leaf and issuer" count 3 keyvault:web
ok "short URI, -keys" count 1 -keys keyvault:rsa
ok "short URI, -certs: the chain" count 2 -certs keyvault:web
ok "canonical key URI: the key alone" count 1 keyvault:///keys/rsa
ok "vault named" count 1 keyvault://default/keys/rsa
ok "certificates URI: chain" count 2 keyvault:///certificates/web
ok "listing of keys, -keys: the keys themselves" count 7 -keys keyvault:///keys/
ok "listing of one collection" count 7 keyvault:///certificates/
leaf_first() {
  ossl storeutl -certs keyvault:///certificates/web |
    grep '^subject' | head -1 | grep -q localhost ||
    ossl x509 -in keyvault:///certificates/web -noout -subject | grep -q localhost
}
ok "chain: leaf first" leaf_first
no "unknown key" "no such key" ossl pkey -in keyvault:///keys/nope -pubout
no "unknown version" "no such key" \
  ossl pkey -in keyvault:///keys/rsa/00000000000000000000000000000000 -pubout
no "certificate expected, key named" "names a key" ossl x509 -in keyvault:///keys/rsa
no "key expected, certificate named" "names a certificate" \
  ossl pkey -in keyvault:///certificates/rsa -pubout
for bad in 'keyvault://' 'keyvault:///keys/a/b/c' 'keyvault:///secrets/x' 'keyvault:a%20b' \
  "keyvault:///keys/$(printf 'a%.0s' $(seq 128))" 'keyvault:///keys/x?version=1' 'keyvault:..'; do
  [ "$bad" = 'keyvault://' ] && continue
  no "malformed URI $bad" "malformed keyvault URI\|no such key" ossl pkey -in "$bad" -pubout
done

# --- files that are named like a URI ---------------------------------------------
cp state/p256.pem keyvault:ec # a key file named like an opaque URI
hijack() { ossl pkey -in keyvault:///keys/p384 -pubout | cmp - p384.pub; }
mkdir -p 'keyvault:/keys'
cp state/p256.pem 'keyvault:/keys/p384'
ok "a file cannot stand in for a canonical URI" hijack
rm -rf keyvault:ec keyvault:
finish
