# s_server and s_client over loopback. Behind lib.sh.
# shellcheck shell=bash disable=SC2154 # lib.sh
server_pid=
port=
serve() { # serve COMMAND S_SERVER-ARGS...: COMMAND is ossl or plain
  local tool=$1 i
  shift
  : >server.log
  "$tool" s_server -accept 127.0.0.1:0 -naccept 200 -www "$@" >server.log 2>&1 &
  server_pid=$!
  pids+=("$server_pid")
  for i in $(seq 200); do
    port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' server.log)
    [ -n "$port" ] && return 0
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.02
  done
  echo "s_server does not listen (try $i)"
  cat server.log
  return 1
}
stop_server() {
  kill "$server_pid" 2>/dev/null
  wait "$server_pid" 2>/dev/null
}
get() { # get COMMAND S_CLIENT-ARGS...: a page from the server, with the connection in client.log
  local tool=$1
  shift
  printf 'GET / HTTP/1.0\r\n\r\n' | "$tool" s_client -connect "127.0.0.1:$port" \
    -servername localhost -verify_return_error -ign_eof "$@" >client.log 2>&1
  grep -q "HTTP/1.0 200" client.log || {
    cat server.log client.log
    return 1
  }
}
fetch() { # fetch CA SUBJECT S_CLIENT-ARGS...: by a plain client, from the server of that subject
  local ca=$1 subject=$2
  shift 2
  get plain -CAfile "$ca" "$@" && grep -q "^subject=CN = $subject" client.log
}
