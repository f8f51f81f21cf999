#!/usr/bin/env bash
# Every openssl(1) command that touches a private key, with the key in a (fake)
# keyring: the results must be what plain openssl accepts.
# usage: openssl_cli.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault"
printf '[req]\ndistinguished_name = dn\n[dn]\n' >plain.cnf
start_keyring
keys="rsa p256 p384 p521 p256k ed25519"
echo "the message" >msg
u() { echo "keyvault:///keys/$1"; }
for k in $keys; do
  plain pkey -in "state/$k.pem" -pubout -out "$k.pub"
  "$keyringd" --keyref "$sock" "$k" >"$k.uri.pem"
done
"$keyringd" --keyref "$sock" rsa follow >rsa.follow.pem

# --- loading -----------------------------------------------------------------
ok "list providers without warning" bash -c "$(declare -f ossl with); dir=$dir preload='$preload'
  ossl list -providers >out 2>&1 && grep -q 'name: keyvault' out && ! grep -qi unable out"
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

# --- public part -------------------------------------------------------------
for k in $keys; do
  same() { ossl pkey -in "$1" -pubout | cmp - "$k.pub"; }
  ok "pkey -pubout $k: as from a file" same "$(u "$k")"
  ok "pkey -pubout $k by PEM file" same "$k.uri.pem"
  ok "pkey -pubin $k" bash -c "$(declare -f ossl with); dir=$dir preload='$preload'
    ossl pkey -pubin -in $(u "$k") -pubout | cmp - $k.pub"
  text() { ossl pkey -in "$(u "$k")" -noout -text >out && grep -q "URI: keyvault:///keys/$k/" out; }
  ok "pkey -text $k" text
  text_pub() { ossl pkey -in "$(u "$k")" -noout -text_pub | cmp - <(plain pkey -pubin -in "$k.pub" -noout -text); }
  ok "pkey -text_pub $k: as from a file" text_pub
  no "private part of $k does not come out" "stays in the vault" ossl pkey -in "$(u "$k")" -out private.pem
  ok "nothing private was written for $k" bash -c "! grep -qs BEGIN private.pem"
done
ok "rsa -pubout" bash -c "$(declare -f ossl with); dir=$dir preload='$preload'
  ossl rsa -in $(u rsa) -pubout | cmp - rsa.pub"
ok "rsa -noout -modulus" ossl rsa -in "$(u rsa)" -noout -modulus
ok "ec -pubout" bash -c "$(declare -f ossl with); dir=$dir preload='$preload'
  ossl ec -in $(u p384) -pubout | cmp - p384.pub"
ok "ec -text" ossl ec -in "$(u p256)" -noout -text
ok "follow file: the current version" bash -c "$(declare -f ossl with); dir=$dir preload='$preload'
  ossl pkey -in rsa.follow.pem -pubout | cmp - rsa.pub"
no "generation is refused with a hint" "keyvault key create" \
  ossl genpkey -propquery provider=keyvault -algorithm RSA

# --- signatures --------------------------------------------------------------
sign_verify() { # sign_verify KEY DIGEST OPTIONS...
  local k=$1 md=$2
  shift 2
  ossl dgst "-$md" -sign "$(u "$k")" "$@" -out sig msg &&
    plain dgst "-$md" -verify "$k.pub" "$@" -signature sig msg &&
    ossl dgst "-$md" -prverify "$(u "$k")" "$@" -signature sig msg
}
for md in sha1 sha224 sha256 sha384 sha512 sha3-256; do
  ok "dgst PKCS1 $md" sign_verify rsa $md
done
for salt in digest max auto 0 20; do
  ok "dgst PSS salt $salt" sign_verify rsa sha256 -sigopt rsa_padding_mode:pss \
    -sigopt rsa_pss_saltlen:$salt
done
ok "dgst PSS other mgf1" sign_verify rsa sha512 -sigopt rsa_padding_mode:pss \
  -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256
no "dgst md5 is not offered" "not offered" ossl dgst -md5 -sign "$(u rsa)" -out sig msg
no "dgst X9.31 is not offered" "not offered\|PKCS#1" \
  ossl dgst -sha256 -sign "$(u rsa)" -sigopt rsa_padding_mode:x931 -out sig msg
no "PSS salt too long" "too small" ossl dgst -sha512 -sign "$(u rsa)" \
  -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:500 -out sig msg
for k in p256 p384 p521 p256k; do
  for md in sha256 sha384 sha512; do ok "dgst ECDSA $k $md" sign_verify $k $md; done
done
for k in rsa p256; do
  by_pem() { ossl dgst -sha256 -sign "$k.uri.pem" -out sig msg && plain dgst -sha256 -verify "$k.pub" -signature sig msg; }
  ok "dgst by PEM file $k" by_pem
done
ed_sign() {
  ossl pkeyutl -sign -rawin -inkey "$(u ed25519)" -in msg -out sig &&
    plain pkeyutl -verify -rawin -pubin -inkey ed25519.pub -in msg -sigfile sig &&
    ossl pkeyutl -verify -rawin -inkey "$(u ed25519)" -in msg -sigfile sig
}
ok "pkeyutl -rawin Ed25519" ed_sign
head -c 40000 /dev/zero >big
no "Ed25519 message too long" "at most 32768" ossl pkeyutl -sign -rawin -inkey "$(u ed25519)" -in big -out sig
plain dgst -sha256 -binary -out hash msg
pk_sign() { # pk_sign KEY OPTIONS...
  local k=$1
  shift
  ossl pkeyutl -sign -inkey "$(u "$k")" "$@" -in hash -out sig &&
    plain pkeyutl -verify -pubin -inkey "$k.pub" "$@" -in hash -sigfile sig &&
    ossl pkeyutl -verify -inkey "$(u "$k")" "$@" -in hash -sigfile sig
}
ok "pkeyutl RSA digest" pk_sign rsa -pkeyopt digest:sha256
ok "pkeyutl RSA PSS" pk_sign rsa -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss
ok "pkeyutl ECDSA digest" pk_sign p256 -pkeyopt digest:sha256
ok "pkeyutl ECDSA, digest by length" pk_sign p256
no "pkeyutl RSA without digest" "digest:sha256" ossl pkeyutl -sign -inkey "$(u rsa)" -in hash -out sig
no "pkeyutl wrong length" "as long as its digest" \
  ossl pkeyutl -sign -inkey "$(u rsa)" -pkeyopt digest:sha384 -in hash -out sig
digest_info() {
  printf '\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20' >info
  cat hash >>info
  ossl pkeyutl -sign -inkey "$(u rsa)" -in info -out sig &&
    plain pkeyutl -verify -pubin -inkey rsa.pub -pkeyopt digest:sha256 -in hash -sigfile sig &&
    ossl pkeyutl -verifyrecover -inkey "$(u rsa)" -in sig | cmp - info
}
ok "pkeyutl RSA, ready DigestInfo, recover" digest_info

# --- decryption and key agreement ---------------------------------------------
crypt() { # crypt OPTIONS...
  plain pkeyutl -encrypt -pubin -inkey rsa.pub "$@" -in msg -out enc &&
    ossl pkeyutl -decrypt -inkey "$(u rsa)" "$@" -in enc | cmp - msg &&
    ossl pkeyutl -encrypt -inkey "$(u rsa)" "$@" -in msg -out enc &&
    ossl pkeyutl -decrypt -inkey rsa.uri.pem "$@" -in enc | cmp - msg
}
ok "pkeyutl PKCS1 decrypt" crypt
ok "pkeyutl OAEP SHA-1" crypt -pkeyopt rsa_padding_mode:oaep
ok "pkeyutl OAEP SHA-256" crypt -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256
ok "pkeyutl OAEP SHA-256, MGF1 SHA-1" crypt -pkeyopt rsa_padding_mode:oaep \
  -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha1
ok "pkeyutl OAEP label" crypt -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_label:0102ab
no "raw RSA is not offered" "never returned" ossl pkeyutl -decrypt -inkey "$(u rsa)" \
  -pkeyopt rsa_padding_mode:none -in enc -out out
derive() { # derive KEY CURVE
  plain ecparam -genkey -noout -name "$2" -out peer.pem &&
    plain pkey -in peer.pem -pubout -out peer.pub &&
    ossl pkeyutl -derive -inkey "$(u "$1")" -peerkey peer.pub -out z1 &&
    plain pkeyutl -derive -inkey peer.pem -peerkey "$1.pub" -out z2 && cmp z1 z2
}
ok "derive p256" derive p256 prime256v1
ok "derive p384" derive p384 secp384r1
ok "derive p521" derive p521 secp521r1
ok "derive p256k" derive p256k secp256k1
no "derive, other curve" "" ossl pkeyutl -derive -inkey "$(u p384)" -peerkey p256.pub -out z1

# --- certificates and CMS ------------------------------------------------------
for k in $keys; do
  csr() { ossl req -new -key "$(u "$k")" -subj "/CN=$k" -out csr && plain req -in csr -verify -noout; }
  ok "req -new $k" csr
  crt() {
    ossl req -x509 -key "$(u "$k")" -subj "/CN=$k" -days 2 -out "$k.crt" &&
      plain verify -check_ss_sig -CAfile "$k.crt" "$k.crt" &&
      plain x509 -in "$k.crt" -noout -pubkey | cmp - "$k.pub"
  }
  ok "req -x509 $k, named curve" crt
  ok "certificate and key of $k belong together" bash -c "$(declare -f ossl with); dir=$dir preload='$preload'
    ossl x509 -in keyvault:///certificates/$k -noout -pubkey | cmp - $k.pub"
done
pss_csr() {
  ossl req -new -key "$(u rsa)" -subj /CN=pss -sigopt rsa_padding_mode:pss \
    -sigopt rsa_pss_saltlen:-1 -outform DER -out csr && plain req -in csr -inform DER -verify -noout || return 1
  plain req -new -key state/rsa.pem -subj /CN=pss -config plain.cnf -sigopt rsa_padding_mode:pss \
    -sigopt rsa_pss_saltlen:-1 -outform DER -out csr2
  [ "$(plain req -in csr -inform DER -noout -text | sed '/Signature Value/,$d')" = \
    "$(plain req -in csr2 -inform DER -noout -text | sed '/Signature Value/,$d')" ] &&
    [ "$(stat -c %s csr)" = "$(stat -c %s csr2)" ]
}
ok "req -new PSS: AlgorithmIdentifier as from a file" pss_csr
ca() {
  plain req -new -newkey ed25519 -nodes -keyout leaf.pem -subj /CN=leaf -config plain.cnf -out leaf.csr &&
    ossl x509 -req -in leaf.csr -CA "$1.crt" -CAkey "$(u "$1")" -CAcreateserial -days 1 -out leaf.crt &&
    plain verify -CAfile "$1.crt" leaf.crt
}
for k in rsa p256 ed25519; do ok "x509 -req -CAkey $k" ca $k; done
cms_sign() { # cms_sign KEY OPTIONS...
  local k=$1
  shift
  ossl cms -sign -signer "$k.crt" -inkey "$(u "$k")" "$@" -in msg -out cms &&
    plain cms -verify -CAfile "$k.crt" -purpose any -in cms -out out && grep -q "the message" out
}
ok "cms -sign RSA" cms_sign rsa
ok "cms -sign RSA PSS" cms_sign rsa -keyopt rsa_padding_mode:pss
ok "cms -sign EC" cms_sign p256
ok "cms -sign EC P-384" cms_sign p384 -md sha384
cms_decrypt() { # cms_decrypt KEY OPTIONS...
  local k=$1
  shift
  plain cms -encrypt -aes128 -in msg -out cms -recip "$k.crt" "$@" &&
    ossl cms -decrypt -in cms -recip "$k.crt" -inkey "$(u "$k")" -out out && cmp msg <(tr -d '\r' <out) &&
    ossl cms -decrypt -in cms -recip "$k.crt" -inkey "$k.uri.pem" -out out && cmp msg <(tr -d '\r' <out)
}
ok "cms -decrypt RSA" cms_decrypt rsa
ok "cms -decrypt RSA OAEP" cms_decrypt rsa -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256
ok "cms -decrypt EC" cms_decrypt p256
ok "cms -decrypt EC P-521" cms_decrypt p521

# --- files ---------------------------------------------------------------------
cp state/p256.pem keyvault:ec # a key file named like an opaque URI
hijack() { ossl pkey -in keyvault:///keys/p384 -pubout | cmp - p384.pub; }
mkdir -p 'keyvault:/keys'
cp state/p256.pem 'keyvault:/keys/p384'
ok "a file cannot stand in for a canonical URI" hijack
rm -rf keyvault:ec keyvault:
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
