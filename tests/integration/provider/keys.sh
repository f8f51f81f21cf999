# The keys of the tables in docs/provider.md, in a vault and in files: soft/K.pem is the
# private key, K.pub its public part, K.crt its certificate (subject CN=K, or the fake
# keyring's name), K.uri.pem the file that names the vault key. Behind lib.sh.
#
# KEYVAULT_TEST_KEYS: only these (always with p256 and p384). KEYVAULT_TEST_ORDER: the
# providers in openssl.cnf, as conf takes them.
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh and the scripts
among() { # among KEY...: those that this run has
  local k list=
  for k; do
    case " ${KEYVAULT_TEST_KEYS:-$k} " in *" $k "*) list="$list $k" ;; esac
  done
  echo "${list# }"
}
rsa=$(among rsa2048 rsa3072 rsa4096)
nist=$(among p256 p384 p521)
ec=$(among p256 p384 p521 p256k)
all=$(among rsa2048 rsa3072 rsa4096 p256 p384 p521 p256k ed25519)
keys=$all

# --- keys: the vault's, and the same in files -----------------------------------
make_key() { # make_key NAME: soft/NAME.pem
  case "$1" in
    rsa*) plain genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:${1#rsa}" ;;
    p256k) plain genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 ;;
    p*) plain genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-${1#p}" ;;
    ed25519) plain genpkey -algorithm ED25519 ;;
  esac >"soft/$1.pem" 2>err
}
mkdir soft
for k in $keys; do make_key "$k" & done
plain genpkey -algorithm ED25519 -out soft/leaf.pem
wait
cat >plain.cnf <<CNF
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = digitalSignature,keyEncipherment,keyAgreement,keyCertSign,cRLSign
CNF
vault_name() { echo "$1"; }
if [ "${2-fake}" = real ]; then
  cp "$KEYVAULT_TEST_CONF" openssl.cnf
  for k in $keys; do # by a certificate: the vault keeps it and its key
    plain req -x509 -key "soft/$k.pem" -subj "/CN=$k" -days 2 -config plain.cnf -extensions ca -out "$k.crt"
    cat "soft/$k.pem" "$k.crt" >pair.pem
    ok "keyvault cert import $k" "$build/keyvault" cert import "$k" --file pair.pem
  done
  key_file() { "$build/keyvault" key uri-pem "$1"; }
else
  conf openssl.cnf "${KEYVAULT_TEST_ORDER:-default keyvault}"
  vault_name() { # the fake keyring's name of a key
    case "$1" in rsa2048) echo rsa ;; *) echo "$1" ;; esac
  }
  mkdir state
  for k in $keys; do cp "soft/$k.pem" "state/$(vault_name "$k").pem"; done
  start_keyring
  key_file() { "$keyringd" --keyref "$sock" "$1"; }
fi
soft() { echo "soft/$1.pem"; }
key_uri() { echo "keyvault:///keys/$(vault_name "$1")"; }
cert_uri() { echo "keyvault:///certificates/$(vault_name "$1")"; }
for k in $keys; do
  plain pkey -in "soft/$k.pem" -pubout -out "$k.pub"
  key_file "$(vault_name "$k")" >"$k.uri.pem"
  ossl x509 -in "$(cert_uri "$k")" -out "$k.crt"
  case "$k" in p*) plain pkey -in "soft/$k.pem" -text -noout | sed -n "s/^ASN1 OID: //p" >"$k.curve" ;; esac
done

# --- rows of a table -------------------------------------------------------------
with_vault() { tool=ossl key=$(key_uri "$1") file=$1.uri.pem; }
each() { # each NAME FUNCTION KEY...: it works
  local name=$1 fn=$2 k
  shift 2
  for k; do
    with_vault "$k"
    ok "$name $k" "$fn" "$k"
  done
}
