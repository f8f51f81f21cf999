#!/usr/bin/env bash
# The module under valgrind's memcheck: forks, threads, ends and reloads of a host. Every
# error counts, and every block that is definitely lost.
# usage: memcheck.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

[ -z "$preload" ] || {
  echo "a sanitized module does not run under valgrind"
  exit 77
}
conf openssl.cnf "default keyvault" "reply-timeout-ms = 60000" "connect-timeout-ms = 60000"
start_keyring
"$keyringd" --keyref "$sock" p256 >p256.uri.pem
programs=$build/tests/integration/provider
keys="keyvault:///keys/p256 keyvault:///keys/ed25519 p256.uri.pem"
check() { # check PROGRAM CASE KEY...
  local program=$1
  shift
  OPENSSL_CONF=$dir/openssl.cnf valgrind -q --error-exitcode=99 --leak-check=full \
    --errors-for-leak-kinds=definite --child-silent-after-fork=no --trace-children=no \
    "$programs/$program" "$@"
}

# shellcheck disable=SC2086 # a list of keys
{
  ok "memcheck: fork" check forks generations $keys
  ok "memcheck: fork inside a passphrase callback" check forks callback $keys
  ok "memcheck: threads" check threads every-way keyvault:///keys/p256 keyvault:///keys/rsa
  ok "memcheck: exit with keys that were used" check exits explicit-cleanup $keys
  ok "memcheck: exit with keys that were never used" check exits unused-keys $keys
  ok "memcheck: exit of the main thread first" check exits main-thread-first keyvault:///keys/p256
  export KEYVAULT_KEYS_SOCKET=$sock OPENSSL_MODULES=$build
  conf openssl.cnf default
  ok "memcheck: reload, several contexts" check reloads several-contexts keyvault:///keys/rsa
  ok "memcheck: reload, a key outlives the module" check reloads key-outlives-provider keyvault:///keys/p256
}
finish
