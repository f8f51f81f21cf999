#!/usr/bin/env bash
# keyvault in five minutes: install, build, serve HTTPS with keys that nginx never holds.
#
#   examples/quickstart.sh            run everything once, stop, exit 0
#   examples/quickstart.sh --keep     leave it running and print what to try
#
# As root on Debian 12. Packages stay installed; everything else is in a temporary
# directory that is removed at the end, and in build/ of this tree.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${KEYVAULT_BUILD:-$root/build}
keep=0
for arg in "$@"; do
  case "$arg" in
    --keep) keep=1 ;;
    -h | --help)
      sed -n '2,8s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "quickstart: unknown option $arg (try --help)" >&2
      exit 2
      ;;
  esac
done

n_steps=9
step=0
say() {
  step=$((step + 1))
  printf '\n[%d/%d] %s\n' "$step" "$n_steps" "$*"
}
ok() { printf '      ok  %s\n' "$*"; }
die() {
  printf 'quickstart: FAILED: %s\n' "$*" >&2
  exit 1
}

pids=()
stop_all() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do
    kill "$pid" 2>/dev/null || true
  done
  for pid in ${pids[@]+"${pids[@]}"}; do
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
  done
  pids=()
}
finish() {
  local status=$?
  trap - EXIT
  if [ "$status" != 0 ] && [ -n "${work:-}" ]; then
    for log in "$work"/keyvaultd.log "$work"/nginx/error.log; do
      [ -s "$log" ] && printf -- '--- end of %s\n' "${log##*/}" >&2 && tail -n 20 "$log" >&2
    done
  fi
  stop_all
  [ -z "${work:-}" ] || rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 20000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}
wait_port() {
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.1
  done
  die "nothing listens on port $1"
}

say "Install what is missing"
"$root/.ci/setup" build run

say "Build"
[ -e "$build/build.ninja" ] || meson setup "$build" "$root" -Dtests=false >/dev/null
meson compile -C "$build" >"$build/quickstart.log" 2>&1 ||
  { tail -n 30 "$build/quickstart.log" >&2 && die "the build"; }
ok "keyvaultd, keyvault and keyvault.so are in ${build#"$root"/}/"

work=$(mktemp -d "${TMPDIR:-/tmp}/keyvault-quickstart.XXXXXX")
chmod 711 "$work"
dev=$work/dev
mkdir -m 711 "$work/nginx" "$work/conf"

say "Start keyvaultd --dev"
"$build/keyvaultd" --dev "$dev" --listen 127.0.0.1:0 >"$work/keyvaultd.log" 2>&1 &
keyvaultd=$!
pids+=("$keyvaultd")
for _ in $(seq 150); do
  grep -q '^keyvaultd: ready' "$work/keyvaultd.log" && break
  kill -0 "$keyvaultd" 2>/dev/null || die "keyvaultd ended"
  sleep 0.1
done
grep -q '^keyvaultd: ready' "$work/keyvaultd.log" || die "keyvaultd is not ready after 15 s"
# shellcheck disable=SC1091 # written by keyvaultd
. "$dev/env"
ok "API at $KEYVAULT_URL"

say "Create two certificates whose keys are born in the vault"
keyvault cert create rsa-vault --issuer Self --subject CN=rsa-vault.localhost \
  --dns rsa-vault.localhost --key-type RSA --size 2048 >/dev/null
keyvault cert create ec-vault --issuer Self --subject CN=ec-vault.localhost \
  --dns ec-vault.localhost --key-type EC --curve P-256 >/dev/null
ok "rsa-vault (RSA 2048), ec-vault (EC P-256)"

# server NAME CERT KEY PORT: one nginx server block
server() {
  cat <<BLOCK
  server {
    listen 127.0.0.1:$4 ssl;
    server_name $1.localhost;
    ssl_certificate $2;
    ssl_certificate_key $3;
    location / { return 200 "served with $1\n"; }
  }
BLOCK
}
# nginx_conf NAME: the frame around the server blocks on standard input
nginx_conf() {
  local user=
  [ "$(id -u)" != 0 ] || user='user www-data;'
  cat <<CONF
$user
worker_processes 2;
pid $work/nginx/$1.pid;
error_log $work/nginx/error.log notice;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path $work/nginx/body;
  proxy_temp_path $work/nginx/proxy;
  fastcgi_temp_path $work/nginx/fastcgi;
  uwsgi_temp_path $work/nginx/uwsgi;
  scgi_temp_path $work/nginx/scgi;
  ssl_session_tickets off;
$(cat)
}
CONF
}
start_nginx() { # start_nginx NAME: sets nginx_pid and nginx_workers
  nginx -p "$work/nginx" -c "$work/conf/$1.conf" -g 'daemon off;' >>"$work/nginx/error.log" 2>&1 &
  nginx_pid=$!
  pids+=("$nginx_pid")
  for _ in $(seq 100); do
    nginx_workers=$(pgrep -P "$nginx_pid" || true)
    [ "$(echo "$nginx_workers" | wc -w)" = 2 ] && return
    kill -0 "$nginx_pid" 2>/dev/null || die "nginx ended"
    sleep 0.1
  done
  die "nginx has no workers"
}
fetch() { # fetch NAME CERT PORT
  local page
  page=$(env -u OPENSSL_CONF curl -sS --fail --cacert "$2" \
    --resolve "$1.localhost:$3:127.0.0.1" "https://$1.localhost:$3/")
  [ "$page" = "served with $1" ] || die "the page of $1 says '$page'"
}

say "Import two keys made with openssl, so that there is something known to look for"
memscan=$build/tests/memscan
known=$work/known
mkdir -m 700 "$known"
(
  cd "$known"
  umask 077
  unset OPENSSL_CONF
  openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.crt -days 30 \
    -subj /CN=rsa-imported.localhost -addext subjectAltName=DNS:rsa-imported.localhost 2>/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.key \
    -out ec.crt -days 30 -subj /CN=ec-imported.localhost \
    -addext subjectAltName=DNS:ec-imported.localhost 2>/dev/null
  cat rsa.key rsa.crt >rsa.pem
  cat ec.key ec.crt >ec.pem
)
"$memscan" --save "$known/patterns" "$known/rsa.key" "$known/ec.key" >/dev/null

control=$(free_port)
server rsa-imported "$known/rsa.crt" "$known/rsa.key" "$control" |
  nginx_conf control >"$work/conf/control.conf"
start_nginx control
wait_port "$control"
fetch rsa-imported "$known/rsa.crt" "$control"
# shellcheck disable=SC2086 # a list of pids
if "$memscan" --patterns "$known/patterns" "$nginx_pid" $nginx_workers >"$work/control.log"; then
  die "the scan does not even find a key that nginx read from a file"
fi
grep -q 'FOUND (' "$work/control.log" || die "the control scan: $(cat "$work/control.log")"
kill "$nginx_pid"
ok "control: while nginx reads the key from a file, the scan finds it in nginx"

keyvault cert import rsa-imported --file "$known/rsa.pem" >/dev/null
keyvault cert import ec-imported --file "$known/ec.pem" >/dev/null
shred -u "$known"/*.key "$known"/*.pem
ok "rsa-imported, ec-imported are in the vault; their files are shredded"

say "Serve all four with nginx"
names='rsa-vault ec-vault rsa-imported ec-imported'
declare -A port
for name in $names; do
  port[$name]=$(free_port)
  keyvault cert show "$name" --pem >"$work/conf/$name.crt"
  keyvault key uri-pem "$name" >"$work/conf/$name.uri.pem"
done
for name in $names; do
  server "$name" "$work/conf/$name.crt" "$work/conf/$name.uri.pem" "${port[$name]}"
done | nginx_conf vault >"$work/conf/vault.conf"
start_nginx vault
for name in $names; do
  wait_port "${port[$name]}"
  fetch "$name" "$work/conf/$name.crt" "${port[$name]}"
  ok "https://$name.localhost:${port[$name]}/ , chain verified by curl"
done

say "Use the same keys with openssl(1)"
cd "$work/conf"
uri=keyvault://default/keys
echo 'a document' >doc
openssl storeutl -noout "$uri/" >list
grep -q rsa-vault list || die "openssl storeutl"
ok "openssl storeutl $uri/"
openssl req -new -key "$uri/ec-vault" -subj /CN=example.org -out req.pem
openssl req -in req.pem -noout -verify 2>/dev/null || die "openssl req"
ok "openssl req -new -key $uri/ec-vault"
for name in rsa-vault ec-vault; do
  openssl x509 -in "$name.crt" -noout -pubkey >"$name.pub"
  openssl dgst -sha256 -sign "$uri/$name" -out doc.sig doc
  openssl dgst -sha256 -verify "$name.pub" -signature doc.sig doc >/dev/null || die "openssl dgst $name"
  ok "openssl dgst -sha256 -sign $uri/$name"
done
openssl cms -sign -in doc -signer rsa-vault.crt -inkey "$uri/rsa-vault" -out doc.cms
openssl cms -verify -in doc.cms -CAfile rsa-vault.crt -purpose any -out /dev/null 2>/dev/null ||
  die "openssl cms -verify"
openssl cms -encrypt -in doc -out doc.env -aes256 rsa-vault.crt
openssl cms -decrypt -in doc.env -inkey "$uri/rsa-vault" -recip rsa-vault.crt >doc.out
grep -q 'a document' doc.out || die "openssl cms -decrypt"
ok "openssl cms -sign and -decrypt with $uri/rsa-vault"
openssl dgst -sha256 -binary -out doc.sha256 doc
openssl pkeyutl -sign -in doc.sha256 -inkey "$uri/ec-vault" -out doc.sig
openssl pkeyutl -verify -in doc.sha256 -pubin -inkey ec-vault.pub -sigfile doc.sig >/dev/null ||
  die "openssl pkeyutl"
ok "openssl pkeyutl -sign -inkey $uri/ec-vault"
s_port=$(free_port)
openssl s_server -accept "127.0.0.1:$s_port" -cert ec-vault.crt -key "$uri/ec-vault" \
  -www >/dev/null 2>&1 &
s_server=$!
pids+=("$s_server")
wait_port "$s_port"
openssl s_client -connect "127.0.0.1:$s_port" -CAfile ec-vault.crt -verify_return_error \
  </dev/null >s_client.log 2>&1 || true
grep -q 'Verify return code: 0' s_client.log || die "openssl s_server"
kill "$s_server"
ok "openssl s_server -key $uri/ec-vault"
cd "$root"

say "Look for the imported keys in the memory of nginx and of the service"
service=$(pgrep -P "$keyvaultd" -f keyvault-service) || die "no keyvault-service"
keyring=$(pgrep -P "$keyvaultd" -f keyvault-keyring) || die "no keyvault-keyring"
# shellcheck disable=SC2086 # a list of pids
"$memscan" --patterns "$known/patterns" "$nginx_pid" $nginx_workers "$service" ||
  die "a private key is where it must not be"
ok "private keys in nginx (master and workers) and in keyvault-service: not found"
if "$memscan" --patterns "$known/patterns" "$keyring" >"$work/control.log"; then
  die "the scan does not find the keys where they are, in keyvault-keyring"
fi
grep -q 'FOUND (' "$work/control.log" || die "the control scan: $(cat "$work/control.log")"
ok "control: the same scan finds them in keyvault-keyring, their only room"

if [ "$keep" = 1 ]; then
  say "Running; Ctrl-C stops everything and removes $work"
  cat <<TRY

  In another shell:
      . $dev/env
      keyvault cert list
      keyvault doctor
      openssl storeutl -noout keyvault:///
      curl --cacert $work/conf/ec-vault.crt --resolve ec-vault.localhost:${port[ec-vault]}:127.0.0.1 \\
           https://ec-vault.localhost:${port[ec-vault]}/
TRY
  wait "$keyvaultd" || true
  exit 0
fi

say "Stop everything"
stop_all
ok "stopped"
printf '\nquickstart: done\n'
