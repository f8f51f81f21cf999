#!/usr/bin/env bash
# keyvault: URIs as STORE objects: what they yield, how listings are searched, what is
# said about bad ones.
# usage: store.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault"
start_keyring
plain pkey -in state/p384.pem -pubout -out p384.pub
printf '[req]\ndistinguished_name = dn\n[dn]\n' >plain.cnf

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
no "certificate expected, key named" "names a key, but a certificate" ossl x509 -in keyvault:///keys/rsa
no "key expected, certificate named" "names a certificate, but a key" \
  ossl pkey -in keyvault:///certificates/rsa -pubout
no "certificate expected, list of keys" "names a key, but a certificate" ossl x509 -in keyvault:///keys/
ok "collection, -certs: the certificates themselves" count 7 -certs keyvault:///certificates/
ok "everything, -certs: one certificate per name" count 7 -certs keyvault:
ok "everything, -keys: one key per name" count 7 -keys keyvault:
ok "no lists of revocation, and no error" count 0 -crls keyvault:///certificates/web
quiet() { count 0 "$@" && ! grep -q error out; }
ok "no lists of revocation in the collection, and no error" quiet -crls keyvault:///certificates/

# --- search ------------------------------------------------------------------------
ossl x509 -in keyvault:///certificates/web -out web.crt
fingerprint() { plain x509 -in web.crt -noout -fingerprint "-$1" | sed 's/.*=//'; }
key_fingerprint() { plain pkey -in "state/$1.pem" -pubout -outform DER | sha256sum | cut -c 1-64; }
finds() { # finds SUBJECT STOREUTL-ARGS...: one certificate, with that subject
  local subject=$1
  shift
  count 1 "$@" && ossl storeutl "$@" | plain x509 -noout -subject | grep -qx "subject=CN = $subject"
}
certs=keyvault:///certificates/
ok "search by subject" finds p384 -subject /CN=p384 $certs
ok "search by subject, case and spaces as OpenSSL compares" finds rsa -subject "/CN= RSA " $certs
ok "search by subject in everything" finds p384 -certs -subject /CN=p384 keyvault:
ok "search by subject in a chain" finds "Fake CA" -subject "/CN=Fake CA" ${certs}web
ok "search by subject: none" count 0 -subject /CN=nobody $certs
ok "search by issuer and serial" finds localhost -issuer "/CN=Fake CA" -serial 2 $certs
ok "search by issuer and serial: other number" count 0 -issuer "/CN=Fake CA" -serial 3 $certs
ok "search by fingerprint of a certificate" finds localhost -sha256 -fingerprint "$(fingerprint sha256)" keyvault:
ok "search by fingerprint, SHA-1" finds localhost -sha1 -fingerprint "$(fingerprint sha1)" $certs
ok "search by fingerprint of a key" count 2 -sha256 -fingerprint "$(key_fingerprint p521)" keyvault:
ok "search by fingerprint among keys" count 1 -sha256 -fingerprint "$(key_fingerprint p521)" keyvault:///keys/
ok "search by alias: key and certificate" count 2 -alias p256 keyvault:
ok "search by alias: certificate and its chain" count 2 -alias WEB $certs
ok "search by alias in another name" count 0 -alias p256 ${certs}web
refused() { # refused REASON STOREUTL-ARGS...: storeutl prints the reason and succeeds
  local reason=$1
  shift
  count 0 "$@" && grep -q "$reason" out
}
ok "search by alias: none" refused "no such key" -alias nobody keyvault:///keys/
ok "search keys by subject" refused "keys have no subject" -subject /CN=rsa keyvault:///keys/
ok "search expected keys by subject" refused "keys have no subject" -keys -subject /CN=rsa keyvault:
ok "search keys by issuer" refused "keys have no subject" -issuer /CN=rsa -serial 1 keyvault:///keys/rsa
no "search by digest MD5" "not a SHA-1, SHA-2 or SHA-3 digest" \
  ossl storeutl -md5 -fingerprint "$(key_fingerprint rsa | cut -c 1-32)" $certs
no "search by an alias that is no name" "1 to 127 letters" ossl storeutl -alias a_b $certs
plain req -new -newkey ed25519 -nodes -keyout leaf.pem -subj /CN=leaf -config plain.cnf -out leaf.csr 2>log
ossl x509 -in ${certs}p384 -out p384.crt
plain x509 -req -in leaf.csr -CA p384.crt -CAkey state/p384.pem -set_serial 5 -out leaf.crt 2>log
trusts() { ossl verify -no-CAfile -no-CApath -CAstore "$1" "$2"; }
ok "verify -CAstore: a whole collection is searched for the issuer" trusts $certs leaf.crt
ok "verify -CAstore: a chain" trusts ${certs}web web.crt
no "verify -CAstore: an issuer that is not there" "unable to get local issuer" trusts ${certs}web leaf.crt

# --- URIs that are none --------------------------------------------------------------
u128=$(printf 'a%.0s' $(seq 128))
while IFS='|' read -r bad reason; do
  bad=${bad//U128/$u128}
  no "bad URI ${bad:0:40}" "malformed keyvault URI.*$reason" ossl pkey -in "$bad" -pubout
done <<'URIS'
keyvault://|no slash follows the vault
keyvault://default|no slash follows the vault
keyvault:///keys|no slash follows "keys"
keyvault:///secrets/x|stands where "keys" or "certificates" is expected
keyvault:///keys/a/b|is not a version
keyvault:///keys/a/b/c|is not a version
keyvault:///keys/a/0123456789ABCDEF0123456789ABCDEF|is not a version
keyvault:///keys/U128|is not an object name
keyvault:///keys/U128U128U128U128U128U128U128U128|the URI has 1041 bytes, at most 1023
keyvault://a/keys/x|is not a vault name
keyvault://a--b/keys/x|is not a vault name
keyvault:///keys/a%20b|no percent-encoding
keyvault:///keys/a%|no percent-encoding
keyvault:///keys/x?version=1|there is no query
keyvault:///keys/x?pin-value=1234|there is no query
keyvault:///keys/x#y|no fragment
keyvault://user@host/keys/x|use letters, digits
keyvault://host:80/keys/x|use letters, digits
keyvault:///keys//x|empty object name
keyvault:..|use letters, digits
keyvault:///keys/../x|use letters, digits
URIS

# --- files that are named like a URI ---------------------------------------------
cp state/p256.pem keyvault:p384
mkdir -p 'keyvault:/keys' 'keyvault:/certificates'
cp state/p256.pem 'keyvault:/keys/p384'
plain pkey -in state/p256.pem -pubout -out p256.pub
loads() { ossl pkey -in "$1" -pubout | cmp - "$2"; }
ok "a file cannot stand in for a canonical URI" loads keyvault:///keys/p384 p384.pub
# That is why every URI that keyvault prints or shows is canonical (docs/uri.md).
ok "a file does stand in for a short URI" loads keyvault:p384 p256.pub
ok "a file does stand in for a URI of one slash" loads keyvault:/keys/p384 p256.pub
rm -rf keyvault:p384 keyvault:
no "one slash is no URI of ours" "malformed keyvault URI" loads keyvault:/keys/p384 p384.pub
finish
