#!/usr/bin/env bash
# Forks, threads, closed descriptors, chroot, and the end of the process.
# usage: processes.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault" "reply-timeout-ms = 20000" "connect-timeout-ms = 20000"
start_keyring
"$keyringd" --keyref "$sock" p256 >p256.uri.pem
calm=
[ -z "$preload" ] || calm=--calm
# shellcheck disable=SC2086 # an option or nothing
run() { with "$dir/openssl.cnf" "$build/tests/integration/provider/fork_threads" $calm "$@"; }
ok "keys by URI" run keyvault:///keys/p256 keyvault:///keys/ed25519 keyvault:///keys/rsa
ok "a pinned file: nobody is asked before the first signature" run p256.uri.pem
conf openssl.cnf "keyvault default" "reply-timeout-ms = 20000" "connect-timeout-ms = 20000"
ok "keyvault first" run keyvault:///keys/p256 p256.uri.pem
# The child in a chroot has no path to the socket: a pinned key must learn nothing from
# a connection of its parent, so the twin stands in the configuration.
conf openssl.cnf "default keyvault" "abstract-socket = $(sed -n 's/^ready //p' ready)" \
  "reply-timeout-ms = 20000" "connect-timeout-ms = 20000"
ok "abstract twin configured" run p256.uri.pem
stop_keyring
no "daemon gone: an error, not a hang" "cannot reach" within 10 run p256.uri.pem
finish
