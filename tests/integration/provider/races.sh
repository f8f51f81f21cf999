#!/usr/bin/env bash
# Threads of a host under ThreadSanitizer, which watches the module and the host; in
# libcrypto it sees locks only.
# usage: races.sh BUILD-DIRECTORY   (one with -Db_sanitize=thread)
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault" "reply-timeout-ms = 60000" "connect-timeout-ms = 60000"
start_keyring
"$keyringd" --keyref "$sock" p256 >p256.uri.pem
host() { # host CASE
  TSAN_OPTIONS=exitcode=66 with "$dir/openssl.cnf" "$build/tests/integration/provider/threads" \
    "$1" keyvault:///keys/p256 keyvault:///keys/rsa keyvault:///keys/ed25519 p256.uri.pem
}
instrumented() {
  ldd "$build/tests/integration/provider/threads" | grep -q libtsan && nm -D "$module" | grep -q __tsan
}
ok "races: module and host are watched" instrumented
ok "races: many threads" host many
ok "races: threads at the very first use" host first-use
ok "races: threads that come and go" host come-and-go
ok "races: sign, decrypt and derive at once" host every-way
finish
