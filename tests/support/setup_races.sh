#!/bin/sh
# Build what races.sh runs, with ThreadSanitizer, in build-tsan.
set -eu
cd "$(dirname "$0")/../.."
[ -e build-tsan/build.ninja ] ||
  meson setup build-tsan -Dtests=true -Db_sanitize=thread -Db_lundef=false
ninja -C build-tsan -j2 keyvault.so tests/support/fake_keyringd \
  tests/integration/provider/threads
