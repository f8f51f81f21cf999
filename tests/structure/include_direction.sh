#!/bin/sh
# The include direction of docs/architecture.md, "Layers": each folder includes only
# what it may, of the project and of libraries. Prints every offence; exits 1 if there
# is one.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
say() {
  echo "$*"
  bad=1
}

# allowed FILE HEADER: may this file include this header of the project?
allowed() {
  folder=${1%/*}
  case "$1:$2" in
    */internal.h | *_internal.h) [ "${2%/*}" = "$folder" ] || return 1 ;; # stays at home
  esac
  case "$1:$2" in
    store/core/*:store/core/*) return 0 ;;
    store/keyring/*:store/core/* | store/keyring/*:store/keyring/*) return 0 ;;
    store/db/*:store/core/* | store/db/*:store/db/*) return 0 ;;
    store/db/*:store/keyring/role.h) return 0 ;; # the kinds of rows
    provider/*:store/core/* | provider/*:store/keyring/protocol.h | provider/*:provider/*) return 0 ;;
    plugins/hsm/*:store/keyring/protocol.h) return 0 ;;
    plugins/*:store/core/* | plugins/*:plugins/keyvault_issuer.h | plugins/*:"$folder"/*) return 0 ;;
    lifecycle/*:store/* | lifecycle/*:plugins/* | lifecycle/*:lifecycle/*) return 0 ;;
  esac
  return 1
}

# library FILE HEADER: may this file include this header of a library?
library() {
  case "$2:$1" in
    sqlite3.h:store/db/* | libpq-fe.h:store/db/*) return 0 ;;
    sqlite3.h:* | libpq-fe.h:*) return 1 ;;
    uv.h:lifecycle/* | uv.h:store/db/* | uv.h:store/keyring/*) return 0 ;;
    uv.h:*) return 1 ;;
    jansson.h:lifecycle/* | jansson.h:plugins/*) return 0 ;;
    jansson.h:*) return 1 ;;
    seccomp.h:store/keyring/* | seccomp.h:lifecycle/*) return 0 ;;
    seccomp.h:*) return 1 ;;
    curl/*:lifecycle/* | llhttp.h:lifecycle/* | confuse.h:lifecycle/* | openssl/ssl.h:lifecycle/*) return 0 ;;
    curl/* | llhttp.h:* | confuse.h:* | openssl/ssl.h:*) return 1 ;;
    # The floor knows no threads; the key process and the module no network.
    pthread.h:store/core/* | threads.h:store/core/* | pthread.h:plugins/* | threads.h:plugins/*) return 1 ;;
    netinet/*:store/* | arpa/*:store/* | netdb.h:store/*) return 1 ;;
    netinet/*:provider/* | arpa/*:provider/* | netdb.h:provider/*) return 1 ;;
    # Issuers are pure: no sockets and no files.
    sys/socket.h:plugins/hsm/* | poll.h:plugins/hsm/*) return 0 ;;
    sys/socket.h:plugins/* | netinet/*:plugins/* | arpa/*:plugins/* | netdb.h:plugins/*) return 1 ;;
    poll.h:plugins/* | fcntl.h:plugins/* | unistd.h:plugins/*) return 1 ;;
  esac
  return 0
}

# includes FILE OPEN CLOSE: what it includes between these quotes
includes() { sed -n "s/^[[:space:]]*#[[:space:]]*include[[:space:]]*$2\([^$3]*\)$3.*/\1/p" "$1"; }

n=0
for file in $(git ls-files 'store/*.[ch]' 'provider/*.[ch]' 'plugins/*.[ch]' 'lifecycle/*.[ch]'); do
  n=$((n + 1))
  for header in $(includes "$file" '"' '"'); do
    case "$header" in
      */*) ;;
      *) header=${file%/*}/$header ;;
    esac
    allowed "$file" "$header" || say "$file must not include $header"
  done
  for header in $(includes "$file" "<" ">"); do
    case "$header" in
      store/* | provider/* | plugins/* | lifecycle/* | tests/*) say "$file includes <$header> like a library's" ;;
    esac
    library "$file" "$header" || say "$file must not include <$header>"
  done
done
echo "$n files"
[ "$n" -gt 0 ] || bad=1
exit $bad
