#!/usr/bin/env bash
# What happens when something is wrong: the daemon is down, hangs or lies, the socket
# belongs to somebody else, settings are bad.
# usage: failures.sh BUILD-DIRECTORY
# shellcheck source=/dev/null disable=SC2154 # lib.sh sets dir, sock, keyringd, uid...
. "$(dirname "$0")/lib.sh"

conf openssl.cnf "default keyvault"
start_keyring
echo "the message" >msg
uri=keyvault:///keys/p256
plain pkey -in state/p256.pem -pubout -out p256.pub
plain pkey -in state/rsa.pem -pubout -out rsa.pub
"$keyringd" --keyref "$sock" p256 >pinned.pem
"$keyringd" --keyref "$sock" p256 follow >follow.pem
ossl x509 -in keyvault:///certificates/p256 -out p256.crt
ossl x509 -in keyvault:///certificates/rsa -out rsa.crt
sign() { # sign CONF KEY
  with "$1" openssl dgst -sha256 -sign "$2" -out sig msg &&
    plain dgst -sha256 -verify "${3-p256.pub}" -signature sig msg
}
C=$dir/openssl.cnf
ok "a good keyring signs" sign "$C" "$uri"

# --- settings ------------------------------------------------------------------
conf uid.cnf "default keyvault" "server-uid = $((uid + 1))"
no "socket of another user" "not trusted" sign "$dir/uid.cnf" "$uri"
twin=$(sed -n 's/^ready //p' ready)
conf abstract.cnf "default keyvault" "socket = $twin"
ok "abstract socket with server-uid" sign "$dir/abstract.cnf" "$uri"
sed -i '/^server-uid/d' abstract.cnf
no "abstract socket without server-uid" "needs server-uid" sign "$dir/abstract.cnf" "$uri"
conf twin.cnf "default keyvault" "socket = $dir/not/there" "abstract-socket = $twin"
ok "abstract twin when the path is out of sight" sign "$dir/twin.cnf" "$uri"
conf no-uid.cnf "default keyvault"
sed -i '/^server-uid/d' no-uid.cnf
ok "without server-uid our own uid is trusted" sign "$dir/no-uid.cnf" "$uri"
conf env.cnf "default keyvault" "socket = $dir/not/there"
by_env() { KEYVAULT_KEYS_SOCKET=$sock sign "$dir/env.cnf" "$uri"; }
ok "KEYVAULT_KEYS_SOCKET counts" by_env
for bad in 'server-uid = root' 'server-uid = -1' 'server-uid = 99999999999' \
  'connect-timeout-ms = 0' 'reply-timeout-ms = soon' 'socket = relative/path' \
  "socket = /$(printf 'x%.0s' $(seq 120))" 'abstract-socket = @' 'async = maybe'; do
  conf bad.cnf "default keyvault" "$bad"
  no "bad setting: ${bad:0:30}" "${bad:0:30}.* is not usable" sign "$dir/bad.cnf" "$uri"
done
# --- a keyring that misbehaves: an error in bounded time -------------------------
mode() { # mode MODE PATTERN [KEY]
  stop_keyring
  start_keyring "$dir/state" "$1"
  no "keyring: $1" "$2" within 4 sign "$C" "${3-pinned.pem}"
}
mode hang "did not answer within 900 ms"
mode hang-hello "did not answer within 700 ms"
mode hang-hello "did not answer within 700 ms" "$uri"
mode close "closed the connection"
mode truncate "closed the connection"
mode oversize "malformed frame"
mode wrong-id "answers no request"
mode drip "did not answer within"
mode sealed "vault is sealed.*keyvault slot open"
mode denied "keyvault access grant unix:USER --role tls-server --scope keys/p256.*uid $uid"
mode swapped "not the one that was loaded.*another public key"
stop_keyring
start_keyring "$dir/state" close-once
ok "keyring: closes once, answers the second time" sign "$C" pinned.pem
stop_keyring

# --- no keyring at all -----------------------------------------------------------
ok "down: other programs are not disturbed" with "$C" openssl dgst -sha256 msg
ok "down: list -providers" with "$C" openssl list -providers
no "down: load by URI names socket and cure" "cannot reach $sock.*keyvaultd running" \
  within 2 sign "$C" "$uri"
# openssl(1) 3.0 drops what a decoder says about a key file; keyvault-provider(7) tells.
no "down: load by following file" "unsupported" within 2 sign "$C" follow.pem
pinned_loads() { with "$C" openssl pkey -in pinned.pem -pubout | cmp - p256.pub; }
ok "down: a pinned file loads" pinned_loads
no "down: its signature fails clearly" "key p256: cannot reach.*keyvault doctor --as $(id -u) keyvault:///keys/p256/" within 2 sign "$C" pinned.pem
start_keyring
ok "up again: the same file signs" sign "$C" pinned.pem

finish
