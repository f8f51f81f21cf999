#!/usr/bin/env bash
# Where keyvault stands in openssl.cnf: behind the default provider, in front of it, or as
# the default property. Vault keys, TLS and the key files of other programs work
# everywhere; what needs the default provider in front says so.
# usage: orders.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, build, script...
. "$(dirname "$0")/lib.sh"
here=$(dirname "$script")
few="rsa2048 p256 p384 ed25519"
[ "${KEYVAULT_TEST_FULL:-0}" = 1 ] && few="rsa2048 rsa3072 rsa4096 p256 p384 p521 p256k ed25519"

start_keyring
echo "the message" >msg
plain pkey -in state/p256.pem -pubout -out p256.pub
printf '[req]\ndistinguished_name = dn\n[dn]\n' >plain.cnf
plain req -x509 -key state/p256.pem -subj /CN=x -days 1 -config plain.cnf -out p256.crt
own=()
for k in rsa p256 p384 ed25519; do own+=("state/$k.pem"); done

commands() { KEYVAULT_TEST_ORDER=$order KEYVAULT_TEST_KEYS=$few bash "$here/$1.sh" "$build"; }
bystander() { with "$dir/openssl.cnf" "$build/tests/integration/provider/bystander" "$@"; }
by() { # by PROVIDER: who makes the temporary keys of P-256
  bystander tls state/p256.pem | grep -qx "P-256 by $1"
}
genpkey() { ossl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out made.pem; }
own_key() { ossl dgst -sha256 -sign state/p256.pem -out sig msg && plain dgst -sha256 -verify p256.pub -signature sig msg; }
foreign() { ossl verify -no-CAfile -no-CApath -trusted p256.crt p256.crt; }

# An order that is not the right one: what is refused, with the cure.
cure="list the default provider before keyvault"
wrong() { # wrong NAME
  ok "$1: temporary keys of TLS by keyvault" by keyvault
  no "$1: genpkey is refused" "$cure" genpkey
}
right() { # right NAME
  ok "$1: temporary keys of TLS by the default provider" by default
  ok "$1: genpkey" genpkey
}
while IFS='|' read -r name order fits runs; do
  conf openssl.cnf "$order"
  [ "$runs" = bystanders ] || ok "$name: every command" commands matrix
  [ "$runs" = bystanders ] || ok "$name: TLS at server and client" commands tls
  ok "$name: a foreign certificate" foreign
  ok "$name: dgst with a key file of its own" own_key
  ok "$name: programs use their own keys" bystander keys "${own[@]}"
  ok "$name: programs speak TLS with every group" bystander tls "${own[@]}"
  $fits "$name"
done <<'ORDERS' # matrix.sh and tls.sh run with the right order by themselves
default first|default keyvault|right|bystanders
keyvault first|keyvault default|wrong|everything
keyvault preferred|default keyvault preferred|wrong|everything
keyvault first and preferred|keyvault default preferred|wrong|bystanders
ORDERS
finish
