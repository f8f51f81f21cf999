#!/usr/bin/env bash
# The life of a host: processes, threads, reloads, limits and ends, each a case of one
# of the programs here.
# usage: life.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault" "reply-timeout-ms = 20000" "connect-timeout-ms = 20000"
start_keyring
"$keyringd" --keyref "$sock" p256 >p256.uri.pem
twin=$(sed -n 's/^ready //p' ready)
programs=$build/tests/integration/provider
all="keyvault:///keys/p256 keyvault:///keys/ed25519 keyvault:///keys/rsa"
host() { # host PROGRAM CASE KEY...
  local program=$1
  shift
  with "$dir/openssl.cnf" "$programs/$program" "$@"
}

# Memory that grows cannot be told from what AddressSanitizer keeps on purpose.
steady() { # steady NAME COMMAND...
  if [ -z "$preload" ]; then
    ok "$@"
  else
    cannot "$1" "sanitized"
  fi
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

  # --- threads -------------------------------------------------------------------
  ok "threads: 8 and 32 sign with keys of every type" host threads many $all \
    keyvault:///keys/p384 keyvault:///keys/p521 keyvault:///keys/p256k p256.uri.pem
  ok "threads: 32 at the very first use" host threads first-use $all p256.uri.pem
  steady "threads: come and go without a trace" host threads come-and-go keyvault:///keys/p256
  ok "threads: sign, decrypt and derive at once" host threads every-way $all
  name="threads: stacks of 16 KiB"
  if [ -z "$preload" ]; then
    ok "$name" host threads small-stack $all p256.uri.pem
  else
    cannot "$name" "sanitized"
  fi

  # --- little to live on -----------------------------------------------------------
  ok "limits: standard input, output and error are closed" host scarcity no-standard-files $all p256.uri.pem
  ok "limits: no descriptors left, and a cure that says so" host scarcity no-descriptors p256.uri.pem
  ok "limits: a broken connection raises no SIGPIPE" host scarcity broken-pipe $all p256.uri.pem
  ok "limits: a storm of signals" host scarcity signals $all p256.uri.pem
  name="limits: a sandbox without files, threads and processes"
  if [ -z "$preload" ]; then
    ok "$name" host scarcity sandbox $all p256.uri.pem
  else
    cannot "$name" "sanitized"
  fi

  # --- ends ------------------------------------------------------------------------
  ok "end: exit with keys alive" host exits live-keys $all p256.uri.pem
  ok "end: exit with keys that were never used" host exits unused-keys $all p256.uri.pem
  ok "end: _exit" host exits at-once $all
  ok "end: quick_exit" host exits quickly $all
  ok "end: exit from a thread" host exits from-thread $all
  ok "end: the main thread ends first" host exits main-thread-first $all
  ok "end: _exit while threads sign" host exits busy-at-once $all
  ok "end: a handler signs before libcrypto cleans up" host exits handler-before-cleanup $all
  ok "end: OPENSSL_cleanup, then _exit" host exits explicit-cleanup $all
  ok "end: OPENSSL_cleanup with keys alive" host exits cleanup-with-live-keys $all
  ok "end: libcrypto is told not to clean up" host exits no-atexit $all
  ok "end: exit of children of a busy parent" host exits child-of-busy-parent $all
  ok "end: static and thread objects of C++" host statics keyvault:///keys/p256

  # --- loading and unloading ---------------------------------------------------------
  reload() { KEYVAULT_KEYS_SOCKET=$sock OPENSSL_MODULES=$build with /dev/null "$programs/reloads" "$@"; }
  steady "reload: the module, 1,000 times" reload providers keyvault:///keys/p256
  steady "reload: library contexts, 200 times" reload contexts keyvault:///keys/p256
  steady "reload: keys, 1,000 times" reload keys keyvault:///keys/p256
  ok "reload: a key outlives the module" reload key-outlives-provider keyvault:///keys/p256
  ok "reload: contexts come and go in threads" reload contexts-in-threads keyvault:///keys/p256
  ok "reload: several contexts at once" reload several-contexts keyvault:///keys/rsa

  if [ "$uid" = 0 ]; then
    chmod 755 "$dir"
    chmod 666 "$sock"
    ok "limits: another user after the keys were loaded" host scarcity setuid $all p256.uri.pem
    conf openssl.cnf "default keyvault" "socket = $twin"
    ok "limits: a chroot and no rights, with the abstract socket only" host scarcity jail p256.uri.pem
    ok "limits: a chroot, keys by URI" host scarcity jail $all
  fi
}
finish
