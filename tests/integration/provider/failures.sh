#!/usr/bin/env bash
# What happens when something is wrong: the daemon is down, hangs or lies, the socket
# belongs to somebody else, settings are bad, providers stand in another order.
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

# --- order and preference of providers --------------------------------------------
conf order1.cnf "default keyvault"
conf order2.cnf "keyvault default"
conf order3.cnf "default keyvault preferred"
conf order4.cnf "keyvault default preferred"
tls() { # tls CONF VERSION
  local conf=$1 version=$2 port='' server rc
  : >server.log
  with "$conf" openssl s_server -accept 127.0.0.1:0 -naccept 1 -www -key "$uri" -cert p256.crt \
    >server.log 2>&1 &
  server=$!
  pids+=("$server")
  for _ in $(seq 60); do
    port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server.log)
    [ -n "$port" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  printf 'GET / HTTP/1.0\r\n\r\n' | OPENSSL_CONF=/dev/null timeout 10 openssl s_client \
    -connect "127.0.0.1:$port" -"$version" -CAfile p256.crt -ign_eof >client.log 2>&1
  grep -q "HTTP/1.0 200" client.log
  rc=$?
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  [ $rc = 0 ] || cat server.log client.log
  return $rc
}
request() { with "$1" openssl req -new -key keyvault:///keys/rsa -subj /CN=x -out csr && plain req -in csr -verify -noout; }
for order in 1 2 3 4; do
  c=$dir/order$order.cnf
  ok "order $order: sign and verify EC" sign "$c" "$uri"
  ok "order $order: sign RSA" sign "$c" keyvault:///keys/rsa rsa.pub
  ok "order $order: request" request "$c"
  ok "order $order: verify a foreign certificate" with "$c" openssl verify -CAfile rsa.crt rsa.crt
  ok "order $order: TLS 1.3" tls "$c" tls1_3
  if [ "$order" = 1 ]; then
    ok "order $order: TLS 1.2" tls "$c" tls1_2
  else # libssl ignores the groups of a provider whose EC keys it does not use
    no "order $order: TLS 1.2 ECDHE, as the manual says" "no shared cipher" tls "$c" tls1_2
  fi
done
finish
