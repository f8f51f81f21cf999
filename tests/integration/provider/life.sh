#!/usr/bin/env bash
# The life of a host: processes, threads, reloads, limits and ends, each a case of one
# of the programs here.
# usage: life.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault" "reply-timeout-ms = 20000" "connect-timeout-ms = 20000"
start_keyring
"$keyringd" --keyref "$sock" p256 >p256.uri.pem
programs=$build/tests/integration/provider
all="keyvault:///keys/p256 keyvault:///keys/ed25519 keyvault:///keys/rsa"
host() { # host PROGRAM CASE KEY...
  local program=$1
  shift
  with "$dir/openssl.cnf" "$programs/$program" "$@"
}

# --- processes -----------------------------------------------------------------
# shellcheck disable=SC2086 # a list of keys
{
  ok "fork: many children sign" host forks many $all p256.uri.pem
  # The allocator of AddressSanitizer does not survive a fork among busy threads.
  name="fork: while 8 threads sign"
  if [ -z "$preload" ]; then
    ok "$name" host forks busy $all
  else
    cannot "$name" "sanitized"
  fi
  ok "fork: children of children" host forks generations $all p256.uri.pem
  ok "fork: inside a passphrase callback" host forks callback $all
  ok "fork: a pinned key inside a passphrase callback" host forks callback p256.uri.pem
  ok "fork: nothing is left open by exec, vfork and posix_spawn" host forks exec $all
  ok "fork: a child that exits leaves its parent's connection alone" host forks child-exits $all
  ok "fork: a daemon after its starter has ended" host forks daemonize $all
}
finish
