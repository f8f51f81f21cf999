#!/bin/sh
# The other tests of this folder can fail: each is run on a copy of the tree in which
# what it guards was broken, and must say so.
# usage: can_fail.sh BUILD
set -u
build=$1
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/keyvault-structure.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
tree=$tmp/tree
mkdir "$tree"
git ls-files -z | xargs -0 cp --parents -t "$tree" || exit 1
cd "$tree" || exit 1
git init -q . && git add -A && git -c user.name=test -c user.email=test@localhost commit -q -m tree || exit 1

bad=0
n=0
# refuses SCRIPT [ARGUMENT]...: it fails on the broken tree; then the tree is whole again
refuses() {
  script=$1
  shift
  git add -A
  if sh "tests/structure/$script.sh" "$@" >"$tmp/out" 2>&1; then
    echo "$script does not fail"
    bad=1
  fi
  git reset -q --hard
}
# says PATTERN...: that is what it said
says() {
  for pattern; do
    n=$((n + 1))
    grep -q -e "$pattern" "$tmp/out" || {
      echo "$script does not say: $pattern"
      bad=1
    }
  done
}
# line FILE LINE: put a line in front of a file
line() { sed -i "1i $2" "$1"; }

line provider/client.c '#include "store/db/store.h"'
line store/core/buf.c '#include "lifecycle/http/http.h"'
line plugins/self/self.c '#include "store/keyring/protocol.h"'
line lifecycle/api/call.c '#include <sqlite3.h>'
line lifecycle/api/error.c '#include "lifecycle/http/internal.h"'
line store/keyring/keys.c '#include <jansson.h>'
line store/core/err.c '#include <uv.h>'
line provider/pool.c '#include <lifecycle/cli/io.h>'
refuses include_direction
says 'provider/client.c must not include store/db/store.h' \
  'store/core/buf.c must not include lifecycle/http/http.h' \
  'plugins/self/self.c must not include store/keyring/protocol.h' \
  'lifecycle/api/call.c must not include <sqlite3.h>' \
  'lifecycle/api/error.c must not include lifecycle/http/internal.h' \
  'store/keyring/keys.c must not include <jansson.h>' \
  'store/core/err.c must not include <uv.h>' \
  "provider/pool.c includes <lifecycle/cli/io.h> like a library's"

printf '#ifndef KV_STORE_CORE_ALONE_H\n#define KV_STORE_CORE_ALONE_H\nuint8_t alone(void);\n#endif\n' >store/core/alone.h
sed -i 's/KV_STORE_CORE_BUF_H/KV_OTHER_H/' store/core/buf.h
refuses headers_compile
says 'store/core/alone.h does not compile alone' 'its guard should be KV_STORE_CORE_BUF_H'

rm provider/README.md
mkdir lifecycle/fresh && : >lifecycle/fresh/fresh.c
refuses folder_readmes
says 'provider has no README.md' 'lifecycle/fresh has no README.md'

absent='lifecycle/absent/absent.c|struct kv_absent|KV_ABSENT|keyvault-absent|POST /absent'
# shellcheck disable=SC2016 # backquotes of Markdown
echo "$absent" | tr '|' '\n' | sed 's/.*/\n`&`/' >>docs/architecture.md
echo '[no page](adr/absent.md)' >>docs/architecture.md
mkdir lifecycle/fresh && : >lifecycle/fresh/fresh.c
refuses architecture_map
says lifecycle/absent/absent.c 'struct kv_absent' KV_ABSENT keyvault-absent 'POST /absent' \
  'links to adr/absent.md' 'does not name the folder lifecycle/fresh'

echo 'int f(void) { return kv_err_set(err, KV_E_IO, "fresh.unheard-of", ""); }' >>store/core/buf.c
echo 'void f(void) { kv_log(log, KV_LOG_INFO, "fresh.unseen", KV_I("n", 1)); }' >>lifecycle/http/peer.c
echo '/* "fresh.in-a-comment" */' >>lifecycle/http/peer.c
# shellcheck disable=SC2016 # backquotes of Markdown
echo '| `fresh.nowhere` | | |' >>docs/errors.md
grep -v '^| .http.refused. ' docs/operations.md >"$tmp/page" && cp "$tmp/page" docs/operations.md
refuses documented_ids
says fresh.unheard-of fresh.unseen fresh.nowhere http.refused
! grep -q in-a-comment "$tmp/out" || {
  echo "documented_ids reads comments"
  bad=1
}

line provider/client.c 'const char *u = "keyvault:keys/web";'
echo 'openssl pkey -in keyvault:web' >>docs/uri.md
refuses canonical_uris
says 'provider/client.c:1:' 'docs/uri.md:.*-in keyvault:web'

# shellcheck disable=SC2016 # backquotes of Markdown
printf '| `%s` |\n' 'provider/absent.sh: any' 'provider/tls.sh: tls1_9 by nobody' 'unit/test_provider.c: has_wings' >>docs/provider.md
# shellcheck disable=SC2016 # backquotes of Markdown
printf '\n| test | `p256` | `p7` |\n|---|---|---|\n| `provider/matrix.sh: pkey -hover` | yes | - |\n' >>docs/provider.md
refuses provider_table
says 'names provider/absent.sh' 'tls.sh does not have: tls1_9 by nobody' \
  'test_provider.c does not have: has_wings' 'does not have: pkey -hover p256'

# shellcheck disable=SC2016 # backquotes of Markdown
sed -i '/ getKeys |/d; s/`keys_crypto.c`/`secrets.c`/; s/: a secret is purged for good/: nobody/' docs/api.md
sed -i 's/ recoverDeletedCertificate / recoverDeletedCertificate (refused) /; s,DELETE /keys/,POST /absent/,' docs/api.md
refuses api_table
says 'api.md has 63 operations' 'does not name: GET /keys' 'is not in secrets.c' \
  'does not have: deleted: nobody' 'no table serves: POST /absent' 'not refused in later.c'

yes '/* long */' | head -n 601 >store/core/long.c
printf '/* TO%s: later */\n' DO >>store/core/buf.c
refuses sizes
says 'store/core/long.c has 601 lines' 'open marks'

cc=${CC:-cc}
echo 'char *getenv(const char *); char *f(void) { return getenv("A"); }' >"$tmp/f.c"
$cc -c -o "$tmp/f.o" "$tmp/f.c" && ar rc "$tmp/f.a" "$tmp/f.o"
$cc -shared -fPIC -o "$tmp/f.so" "$tmp/f.c" -Wl,--no-as-needed -lcrypto -lssl
refuses exported_symbols "$tmp/f.so" "$tmp/f.a"
says 'exports: f' 'links: .*libssl' 'not linked with -z nodelete' 'uses getenv'
refuses linked_libraries "$build/keyvault-service" libcrypto libuv libseccomp
says 'links libsqlite3'

mkdir "$tmp/bin"
cat >"$tmp/bin/meson" <<MESON
#!/bin/sh
"$(command -v meson)" "\$@"
for dir; do :; done
find "\$dir" -name keyvault.so -exec mv {} "\$dir/" \\;
MESON
chmod +x "$tmp/bin/meson"
PATH=$tmp/bin:$PATH
refuses installed_files "$build"
says 'keyvault.so is installed as /keyvault.so'

echo "$n faults seen"
exit $bad
