#!/usr/bin/env bash
# openssl(1) command by command, key type by key type: docs/provider.md shows the table.
# usage: matrix.sh BUILD-DIRECTORY    with the fake keyring
#        real.py BUILD-DIRECTORY matrix.sh    with keyvaultd --dev
# shellcheck source=/dev/null disable=SC2034,SC2086,SC2154 # lib.sh, commands.sh; lists of keys
. "$(dirname "$0")/lib.sh"
. "$(dirname "$script")/keys.sh"
. "$(dirname "$script")/commands.sh"

echo "the message" >msg
plain dgst -sha256 -binary -out hash msg
printf '\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20' | cat - hash >info

# --- the rows of the table ---------------------------------------------------------
refused() { # refused NAME PATTERN FUNCTION KEY...: the vault says no, and why
  local name=$1 pattern=$2 fn=$3 k
  shift 3
  for k; do
    with_vault "$k"
    no "$name $k" "$pattern" "$fn" "$k"
  done
}
impossible() { # impossible NAME PATTERN FUNCTION KEY...: neither with a file nor with a vault
  local name=$1 pattern=$2 fn=$3 k
  shift 3
  for k; do
    with_vault "$k"
    no "$name $k" "$pattern" "$fn" "$k"
    tool=plain key=$(soft "$k") file=$(soft "$k")
    no "$name $k, from a file" "$pattern" "$fn" "$k"
  done
}

each "storeutl -keys" store_keys $all
each "storeutl -certs" store_certs $all
each "storeutl" store_both $all
each "x509 -in" x509_from_store $all
each "verify -CAstore" verify_by_store $all
each "pkey -pubout" pubout $all
each "rsa, ec -pubout" pubout_by_type $rsa $ec
each "pkey -text" text $all
each "pkey -pubcheck" pubcheck $all
refused "pkey -out" "stays in the vault" private_out $all
refused "pkcs8 -topk8" "stays in the vault" pkcs8 $all
refused "pkcs12 -export" "stays in the vault" pkcs12 $all
each "dgst -sign PKCS#1" dgst_pkcs1 $rsa
each "dgst -sign PSS" dgst_pss $rsa
each "dgst -sign" dgst_ecdsa $ec
impossible "dgst -sign" "Key type not supported for this operation" dgst_oneshot ed25519
refused "dgst -sign rare digest" "not offered; take SHA256" dgst_rare $rsa $ec
each "dgst -sign key file" dgst_by_file $rsa $ec
each "pkeyutl -sign PKCS#1" pkeyutl_pkcs1 $rsa
each "pkeyutl -sign DigestInfo" pkeyutl_info $rsa
each "pkeyutl -sign PSS" pkeyutl_pss $rsa
each "pkeyutl -sign" pkeyutl_ecdsa $ec
each "pkeyutl -sign -rawin" pkeyutl_raw $all
refused "pkeyutl -sign raw block" "digest:sha256" raw_block $rsa
each "spkac" spkac $rsa $ec
impossible "spkac" "Error signing SPKAC" spkac ed25519
each "pkeyutl -decrypt PKCS#1" decrypt_pkcs1 $rsa
each "pkeyutl -decrypt OAEP" decrypt_oaep $rsa
each "pkeyutl -encrypt" encrypt $rsa
refused "pkeyutl -decrypt raw block" "never returned" decrypt_raw $rsa
each "pkeyutl -derive" derive $ec
refused "pkeyutl -derive other curve" "on another curve" derive_other $ec
each "req -new" req_new $all
each "req -new PSS" req_pss $rsa
each "req -x509" req_x509 $all
each "x509 -req -CAkey" x509_ca $all
each "x509 -key" x509_self $all
each "ca" ca $all
each "ocsp -rkey" ocsp $all
each "ts -reply" ts $rsa $ec
impossible "ts -reply" "signing not supported for this key type" ts ed25519
each "cms -sign" cms_sign $rsa $ec
each "cms -sign -md" cms_sign_more $rsa $ec
each "cms -sign PSS" cms_pss $rsa
impossible "cms -sign" "no default digest" cms_sign ed25519
each "cms -decrypt" cms_decrypt $rsa $ec
impossible "cms -decrypt" "operation not supported for this keytype" cms_decrypt ed25519
each "cms -decrypt OAEP" cms_decrypt_oaep $rsa
each "cms -encrypt" cms_encrypt $rsa $ec
each "smime -sign" smime_sign $rsa $ec
impossible "smime -sign" "pkcs7 add signature error" smime_sign ed25519
each "smime -decrypt" smime_decrypt $rsa
impossible "smime -decrypt" "encryption not supported for this key type" smime_decrypt $ec ed25519
each "cmp" cmp_request $rsa $ec
impossible "cmp" "unsupported key type" cmp_request ed25519
finish
