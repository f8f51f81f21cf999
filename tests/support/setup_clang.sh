#!/bin/sh
# Build with clang: strict warnings and the libFuzzer targets.
set -e
cd "$(dirname "$0")/../.."
[ -e build-clang/build.ninja ] || CC="$(command -v ccache || :) clang-14" meson setup build-clang -Dfuzz=true -Db_lundef=false
meson configure build-clang -Dtests=true -Dstrict=true -Dfuzz=true
meson compile -j 2 -C build-clang
