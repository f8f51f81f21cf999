#!/bin/sh
# The include direction of docs/architecture.md, "Layers": each folder includes only
# what it may. Prints every offence; exits 1 if there is one.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0

# project_includes FILE: the quoted project headers that it includes
project_includes() {
  sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$1"
}

allowed() { # allowed FILE HEADER
  case "$1:$2" in
    store/core/*:store/core/*) return 0 ;;
    store/keyring/*:store/core/* | store/keyring/*:store/keyring/*) return 0 ;;
    store/db/*:store/core/* | store/db/*:store/db/*) return 0 ;;
    store/db/*:store/keyring/role.h) return 0 ;; # the kinds of rows
    provider/*:store/core/* | provider/*:store/keyring/protocol.h | provider/*:provider/*) return 0 ;;
    plugins/hsm/*:store/keyring/protocol.h) return 0 ;;
    plugins/*:store/core/* | plugins/*:plugins/*) return 0 ;;
    lifecycle/*:store/* | lifecycle/*:plugins/* | lifecycle/*:lifecycle/*) return 0 ;;
  esac
  return 1
}

for file in $(git ls-files 'store/*.[ch]' 'provider/*.[ch]' 'plugins/*.[ch]' 'lifecycle/*.[ch]'); do
  for header in $(project_includes "$file"); do
    case "$header" in
      */*) ;;
      *)
        [ -e "$(dirname "$file")/$header" ] || continue
        header=$(dirname "$file")/$header
        ;;
    esac
    allowed "$file" "$header" || {
      echo "$file includes $header"
      bad=1
    }
  done
  case "$file" in
    store/db/*) ;;
    *) grep -nE '#[[:space:]]*include[[:space:]]*<(sqlite3|libpq-fe)\.h>' "$file" && echo "$file: only store/db may" && bad=1 ;;
  esac
  case "$file" in
    lifecycle/* | store/db/* | store/keyring/*) ;;
    *) grep -nE '#[[:space:]]*include[[:space:]]*<uv\.h>' "$file" && echo "$file: uv.h is not for this folder" && bad=1 ;;
  esac
  case "$file" in
    lifecycle/* | plugins/*) ;;
    *) grep -nE '#[[:space:]]*include[[:space:]]*<(jansson|curl/curl)\.h>' "$file" && echo "$file: no JSON or HTTP client here" && bad=1 ;;
  esac
  # internal.h never crosses a folder
  for header in $(project_includes "$file"); do
    case "$header" in
      */internal.h) [ "$(dirname "$header")" = "$(dirname "$file")" ] || {
        echo "$file includes another folder's $header"
        bad=1
      } ;;
    esac
  done
done
exit $bad
