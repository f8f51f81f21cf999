# What each openssl(1) command does with a key: one function per command, which takes the
# key's name and fails unless plain openssl, with the same key in a file or with its
# public part, gives or accepts the same. matrix.sh runs them for each type of key.
#
# `run` is openssl with the module; $key is the key as it names it, $file a file that it
# takes for the key. For what OpenSSL itself cannot do, `impossible` in matrix.sh sets them
# to plain openssl and an ordinary key.
# shellcheck shell=bash disable=SC2154 # matrix.sh sets tool, key, file

run() { $tool "$@"; }
same() { cmp "$1" "$2"; }
# text_of FILE: without the carriage returns of MIME
is_message() { tr -d '\r' <"$1" | cmp - msg; }

# --- what a URI is, and what comes out -----------------------------------------
found() { # found N STOREUTL-ARGS...
  local n=$1
  shift
  run storeutl -noout "$@" >out && grep -qx "Total found: $n" out
}
store_keys() { found 1 -keys "$key" && run storeutl -noout -keys "$key" | grep -qx '0: Pkey'; }
store_certs() { run storeutl -certs "$(cert_uri "$1")" | plain x509 -out out && same out "$1.crt"; }
store_both() { found 2 "keyvault:$(vault_name "$1")"; }
pubout() {
  local form
  for form in PEM DER; do
    plain pkey -in "$(soft "$1")" -pubout -outform $form -out want
    run pkey -in "$key" -pubout -outform $form | same - want &&
      run pkey -in "$1.uri.pem" -pubout -outform $form | same - want &&
      run pkey -pubin -in "$key" -pubout -outform $form | same - want || return 1
  done
}
pubout_by_type() {
  local command=ec
  case "$1" in rsa*) command=rsa ;; esac
  run $command -in "$key" -pubout | same - "$1.pub" &&
    run $command -in "$1.uri.pem" -pubout -outform DER | plain $command -pubin -inform DER -pubout | same - "$1.pub"
}
text() {
  run pkey -in "$key" -noout -text >out && grep -q "^URI: keyvault://\(default\)\?/keys/$(vault_name "$1")/" out &&
    grep -q "stays in the vault, not exportable" out || return 1
  plain pkey -pubin -in "$1.pub" -noout -text | sed 1d >want
  tail -n "$(wc -l <want)" out | same - want &&
    run pkey -in "$key" -noout -text_pub | same - <(plain pkey -pubin -in "$1.pub" -noout -text)
}
pubcheck() { run pkey -in "$key" -noout -pubcheck | grep -q "Key is valid"; }
private_out() { run pkey -in "$key" -out private.out || {
  grep -qs BEGIN private.out && echo "something was written"
  return 1
}; }
x509_from_store() {
  run x509 -in "$(cert_uri "$1")" -noout -pubkey | same - "$1.pub" &&
    run x509 -in "keyvault:$(vault_name "$1")" | same - "$1.crt"
}

# --- signatures ----------------------------------------------------------------
# dgst with the key, verified by plain openssl and by the key itself
dgst() { # dgst KEY DIGEST OPTIONS...
  local k=$1 md=$2
  shift 2
  run dgst "-$md" -sign "$key" "$@" -out sig msg && plain dgst "-$md" -verify "$k.pub" "$@" -signature sig msg &&
    run dgst "-$md" -prverify "$key" "$@" -signature sig msg
}
digests="sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-384 sha3-512"
dgst_pkcs1() {
  local md
  for md in $digests; do
    dgst "$1" "$md" && plain dgst "-$md" -sign "$(soft "$1")" -out want msg && same sig want || return 1
  done
}
dgst_pss() {
  local salt pss="-sigopt rsa_padding_mode:pss"
  for salt in digest max auto 0 20; do
    # shellcheck disable=SC2086 # options
    dgst "$1" sha256 $pss -sigopt rsa_pss_saltlen:$salt || return 1
  done
  # shellcheck disable=SC2086 # options
  dgst "$1" sha512 $pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256 && dgst "$1" sha384 $pss
}
dgst_ecdsa() {
  local md
  for md in $digests; do dgst "$1" "$md" || return 1; done
}
dgst_oneshot() { run dgst -sign "$key" -out sig msg && plain dgst -verify "$1.pub" -signature sig msg; }
dgst_rare() { run dgst -sha512-256 -sign "$key" -out sig msg; }
dgst_by_file() {
  run dgst -sha256 -sign "$1.uri.pem" -out sig msg && plain dgst -sha256 -verify "$1.pub" -signature sig msg
}
# pkeyutl with a digest that is ready; verified both ways
pkeyutl() { # pkeyutl KEY INPUT OPTIONS...
  local k=$1 in=$2
  shift 2
  run pkeyutl -sign -inkey "$key" "$@" -in "$in" -out sig &&
    plain pkeyutl -verify -pubin -inkey "$k.pub" "$@" -in "$in" -sigfile sig &&
    run pkeyutl -verify -inkey "$key" "$@" -in "$in" -sigfile sig
}
pkeyutl_pkcs1() {
  pkeyutl "$1" hash -pkeyopt digest:sha256 &&
    plain pkeyutl -sign -inkey "$(soft "$1")" -pkeyopt digest:sha256 -in hash -out want && same sig want
}
pkeyutl_info() { # a ready DigestInfo, and what is inside a signature
  plain pkeyutl -sign -inkey "$(soft "$1")" -in info -out want && pkeyutl "$1" info && same sig want &&
    run pkeyutl -verifyrecover -inkey "$key" -in sig | same - info
}
pkeyutl_pss() { pkeyutl "$1" hash -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss; }
pkeyutl_ecdsa() { pkeyutl "$1" hash -pkeyopt digest:sha256 && pkeyutl "$1" hash; }
pkeyutl_raw() { # the message itself; Ed25519 knows no other way
  local digest=()
  [ "$1" = ed25519 ] || digest=(-digest sha384)
  run pkeyutl -sign -rawin "${digest[@]}" -inkey "$key" -in msg -out sig &&
    plain pkeyutl -verify -rawin "${digest[@]}" -pubin -inkey "$1.pub" -in msg -sigfile sig || return 1
  case "$1" in p*) return 0 ;; esac
  plain pkeyutl -sign -rawin "${digest[@]}" -inkey "$(soft "$1")" -in msg -out want && same sig want
}
raw_block() { run pkeyutl -sign -inkey "$key" -in hash -out sig; }
spkac() {
  run spkac -key "$key" -digest sha256 -challenge knock -out spkac.out && plain spkac -in spkac.out -verify -noout &&
    plain spkac -in spkac.out -pubkey -noout | same - "$1.pub"
}

# --- decryption and agreement ----------------------------------------------------
crypt() { # crypt KEY OPTIONS...
  local k=$1
  shift
  plain pkeyutl -encrypt -pubin -inkey "$k.pub" "$@" -in msg -out enc &&
    run pkeyutl -decrypt -inkey "$key" "$@" -in enc | same - msg &&
    run pkeyutl -decrypt -inkey "$k.uri.pem" "$@" -in enc | same - msg
}
decrypt_pkcs1() { crypt "$1" && run rsautl -decrypt -inkey "$key" -in enc | same - msg; }
decrypt_oaep() {
  local oaep="-pkeyopt rsa_padding_mode:oaep" sha2="-pkeyopt rsa_oaep_md:sha256"
  # shellcheck disable=SC2086 # options
  crypt "$1" $oaep && crypt "$1" $oaep $sha2 && crypt "$1" $oaep $sha2 -pkeyopt rsa_mgf1_md:sha1 &&
    crypt "$1" $oaep -pkeyopt rsa_oaep_md:sha512 -pkeyopt rsa_oaep_label:0102ab
}
encrypt() {
  local options
  for options in "" "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256"; do
    # shellcheck disable=SC2086 # options
    run pkeyutl -encrypt -inkey "$key" $options -in msg -out enc &&
      plain pkeyutl -decrypt -inkey "$(soft "$1")" $options -in enc | same - msg || return 1
  done
}
decrypt_raw() { run pkeyutl -decrypt -inkey "$key" -pkeyopt rsa_padding_mode:none -in enc -out out; }
derive() {
  plain genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$(cat "$1.curve")" -out peer.pem && plain pkey -in peer.pem -pubout -out peer.pub &&
    run pkeyutl -derive -inkey "$key" -peerkey peer.pub -out z1 &&
    plain pkeyutl -derive -inkey peer.pem -peerkey "$1.pub" -out z2 && same z1 z2 &&
    run pkeyutl -derive -inkey "$1.uri.pem" -peerkey peer.pub -out z1 && same z1 z2
}
derive_other() {
  local other=p384
  [ "$1" != p384 ] || other=p256
  run pkeyutl -derive -inkey "$key" -peerkey $other.pub -out z1
}

# --- requests and certificates -----------------------------------------------------
names_a_curve() { # names_a_curve KEY: standard input has the public key as text
  case "$1" in p*) grep -q "ASN1 OID" ;; *) true ;; esac
}
req_new() {
  run req -new -key "$key" -subj "/CN=$1" -out csr && plain req -in csr -verify -noout &&
    plain req -in csr -noout -pubkey | same - "$1.pub" && plain req -in csr -noout -text | names_a_curve "$1" &&
    run req -new -key "$1.uri.pem" -subj "/CN=$1" -out csr && plain req -in csr -verify -noout
}
pss_options="-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1"
without_signature() { plain req -in "$1" -noout -text | sed '/Signature Value/,$d'; }
req_pss() { # also the AlgorithmIdentifier is that of a file's key
  # shellcheck disable=SC2086 # options
  run req -new -key "$key" -subj /CN=pss $pss_options -out csr && plain req -in csr -verify -noout &&
    plain req -new -key "$(soft "$1")" -subj /CN=pss -config plain.cnf $pss_options -out csr2 &&
    [ "$(without_signature csr)" = "$(without_signature csr2)" ] && [ "$(stat -c %s csr)" = "$(stat -c %s csr2)" ]
}
req_x509() {
  run req -x509 -key "$key" -subj "/CN=$1" -days 2 -addext subjectAltName=DNS:localhost -out self.crt &&
    plain verify -check_ss_sig -CAfile self.crt self.crt && plain x509 -in self.crt -noout -pubkey | same - "$1.pub" &&
    plain x509 -in self.crt -noout -text | names_a_curve "$1"
}
leaf_csr() { [ -s leaf.csr ] || plain req -new -key soft/leaf.pem -subj /CN=leaf -config plain.cnf -out leaf.csr; }
x509_ca() {
  leaf_csr && run x509 -req -in leaf.csr -CA "$1.crt" -CAkey "$key" -CAcreateserial -days 1 -out leaf.crt &&
    plain verify -CAfile "$1.crt" leaf.crt &&
    run x509 -req -in leaf.csr -CA "$(cert_uri "$1")" -CAkey "$key" -set_serial 7 -days 1 -out leaf.crt &&
    plain verify -CAfile "$1.crt" leaf.crt
}
x509_self() {
  run x509 -in "$1.crt" -key "$key" -days 3 -out self.crt && plain verify -check_ss_sig -CAfile self.crt self.crt &&
    run x509 -in "$1.crt" -x509toreq -key "$key" -out csr && plain req -in csr -verify -noout
}
verify_by_store() {
  leaf_csr && plain x509 -req -in leaf.csr -CA "$1.crt" -CAkey "$(soft "$1")" -set_serial 9 -days 1 -out leaf.crt 2>err &&
    run verify -no-CAfile -no-CApath -CAstore "$(cert_uri "$1")" leaf.crt
}
ca_conf() { # ca_conf KEY: a certification authority in a folder of its own
  rm -rf ca && mkdir ca && : >ca/index.txt && echo 01 >ca/serial && echo 01 >ca/crlnumber
  cat >ca.cnf <<CNF
[ca]
default_ca = authority
[authority]
dir = ca
database = ca/index.txt
new_certs_dir = ca
serial = ca/serial
crlnumber = ca/crlnumber
certificate = $1.crt
private_key = $key
default_md = default
default_days = 1
default_crl_days = 1
policy = any
[any]
commonName = supplied
CNF
}
ca() {
  ca_conf "$1" && leaf_csr || return 1
  run ca -config ca.cnf -batch -notext -in leaf.csr -out leaf.crt && plain verify -CAfile "$1.crt" leaf.crt &&
    run ca -config ca.cnf -gencrl -out crl.pem && plain crl -in crl.pem -CAfile "$1.crt" -noout &&
    plain verify -crl_check -CAfile "$1.crt" -CRLfile crl.pem leaf.crt &&
    run ca -config ca.cnf -revoke leaf.crt && run ca -config ca.cnf -gencrl -out crl.pem || return 1
  plain verify -crl_check -CAfile "$1.crt" -CRLfile crl.pem leaf.crt >out 2>&1
  grep -q "certificate revoked" out
}
ocsp() {
  ca_conf "$1" && leaf_csr && plain x509 -req -in leaf.csr -CA "$1.crt" -CAkey "$(soft "$1")" -set_serial 7 -days 1 -out leaf.crt &&
    printf 'V\t391231235959Z\t\t07\tunknown\t/CN=leaf\n' >ca/index.txt &&
    plain ocsp -issuer "$1.crt" -cert leaf.crt -reqout ocsp.req &&
    run ocsp -index ca/index.txt -CA "$1.crt" -rsigner "$1.crt" -rkey "$key" -reqin ocsp.req -respout ocsp.resp &&
    plain ocsp -no_nonce -respin ocsp.resp -issuer "$1.crt" -cert leaf.crt -CAfile "$1.crt" >out 2>&1 &&
    grep -q "leaf.crt: good" out && grep -q "Response verify OK" out
}
ts_conf() {
  echo 01 >tsserial
  cat >ts.cnf <<CNF
[tsa]
serial = tsserial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
[usage]
extendedKeyUsage = critical,timeStamping
CNF
}
ts() { # it reads files only
  ts_conf && plain req -new -key "$(soft "$1")" -subj /CN=time -config plain.cnf -out tsa.csr &&
    plain x509 -req -in tsa.csr -CA "$1.crt" -CAkey "$(soft "$1")" -set_serial 8 -days 1 -extfile ts.cnf -extensions usage -out tsa.crt &&
    plain ts -query -data msg -sha256 -cert -out ts.req &&
    run ts -reply -config ts.cnf -section tsa -queryfile ts.req -signer tsa.crt -inkey "$file" -out ts.resp &&
    plain ts -verify -data msg -in ts.resp -CAfile "$1.crt"
}

# --- CMS, S/MIME, PKCS#12 ----------------------------------------------------------
verified_cms() { plain cms -verify -CAfile "$1.crt" -purpose any -in cms.out -out out && is_message out; }
cms_sign() { run cms -sign -signer "$1.crt" -inkey "$key" -in msg -out cms.out && verified_cms "$1"; }
cms_sign_more() { # other digests, signer by URI, and no attributes: the bytes of a file's key
  local same_bytes=(-nodetach -noattr -binary -outform DER)
  run cms -sign -signer "$(cert_uri "$1")" -inkey "$key" -md sha384 -in msg -out cms.out && verified_cms "$1" || return 1
  case "$1" in p*) return 0 ;; esac
  run cms -sign -signer "$1.crt" -inkey "$key" "${same_bytes[@]}" -in msg -out cms.out &&
    plain cms -sign -signer "$1.crt" -inkey "$(soft "$1")" "${same_bytes[@]}" -in msg -out want && same cms.out want
}
cms_pss() {
  run cms -sign -signer "$1.crt" -inkey "$key" -keyopt rsa_padding_mode:pss -in msg -out cms.out && verified_cms "$1"
}
decrypted_cms() { # decrypted_cms KEY: cms.out, by URI and by key file
  local by
  for by in "$key" "$1.uri.pem"; do
    run cms -decrypt -in cms.out -recip "$1.crt" -inkey "$by" -out out && is_message out || return 1
  done
}
cms_decrypt() { plain cms -encrypt -aes128 -in msg -out cms.out -recip "$1.crt" && decrypted_cms "$1"; }
cms_decrypt_oaep() {
  plain cms -encrypt -aes128 -in msg -out cms.out -recip "$1.crt" \
    -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 && decrypted_cms "$1"
}
cms_encrypt() {
  run cms -encrypt -aes128 -in msg -out cms.out -recip "$(cert_uri "$1")" &&
    plain cms -decrypt -in cms.out -recip "$1.crt" -inkey "$(soft "$1")" -out out && is_message out
}
smime_sign() {
  run smime -sign -signer "$1.crt" -inkey "$key" -in msg -out smime.out &&
    plain smime -verify -CAfile "$1.crt" -purpose any -in smime.out -out out && is_message out
}
smime_decrypt() {
  plain smime -encrypt -aes128 -in msg -out smime.out "$1.crt" &&
    run smime -decrypt -in smime.out -recip "$1.crt" -inkey "$key" -out out && is_message out
}
pkcs12() { run pkcs12 -export -inkey "$key" -in "$1.crt" -passout pass:x -out p12.out; }
pkcs8() { # it reads files only
  run pkcs8 -topk8 -nocrypt -in "$file" -out private.out
}
cmp_request() { # certificate management protocol: proof of possession and protection of the message
  run cmp -use_mock_srv -cmd cr -newkey "$key" -subject /CN=x -cert "$1.crt" -key "$key" -srvcert "$1.crt" \
    -srv_ref 1 -srv_cert "$1.crt" -srv_key "$(soft "$1")" -srv_trusted "$1.crt" -rsp_cert "$1.crt" -certout out
}
