#!/usr/bin/env bash
# The linters over the whole tree; one "ok" or "not ok" line each.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
mapfile -t c_files < <(git ls-files '*.c' '*.h')
mapfile -t tidy_files < <(git ls-files 'store/*.c' 'provider/*.c' 'plugins/*.c' 'lifecycle/*.c')
mapfile -t shell_files < <(git ls-files '*.sh' .ci/setup .ci/run)
mapfile -t pages < <(git ls-files 'docs/man/*.[1-8]')

lint() {
  local name=$1
  shift
  if "$@"; then echo "ok $name"; else echo "not ok $name"; fi
}
# Only what stands in the tree, by the flags of a build with clang that is set up for
# this and never compiled.
tidy() {
  [ -e build-lint/build.ninja ] || CC=clang-14 meson setup build-lint >/dev/null || return 1
  ninja -C build-lint build.ninja >/dev/null || return 1
  run-clang-tidy-14 -quiet -j 2 -p build-lint "${tidy_files[@]/#/^$PWD/}" 2>/dev/null |
    sed 's/\x1b\[[0-9;]*m//g; /^clang-tidy-14 /d'
}
manuals() {
  local out
  out=$(mandoc -T lint -W warning "${pages[@]}" | grep -v 'referenced manual not found')
  [ -z "$out" ] || { echo "$out" && return 1; }
}

lint clang-format clang-format-14 --dry-run --Werror "${c_files[@]}"
lint cppcheck cppcheck --quiet --std=c11 --error-exitcode=1 -j 2 --inline-suppr \
  --enable=warning,performance,portability --suppress=missingIncludeSystem \
  --suppressions-list=tests/support/cppcheck.txt -D_GNU_SOURCE -I. \
  store provider plugins lifecycle
lint shellcheck shellcheck "${shell_files[@]}"
lint codespell codespell -q 3 -I tests/support/codespell.txt README.md docs provider store plugins lifecycle tests/*.md examples
[ "${#pages[@]}" = 0 ] || lint mandoc manuals
lint clang-tidy tidy
