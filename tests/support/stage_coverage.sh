#!/usr/bin/env bash
# Line coverage, folder by folder, against the floor of 85 %: of the unit tests, and of
# the journeys over the real key process.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build="build-coverage"
[ -e $build/build.ninja ] || meson setup $build -Db_coverage=true -Dbuildtype=debug || exit 1
meson compile -j 2 -C $build || exit 1
find $build -name '*.gcda' -delete
meson test -C $build --no-rebuild --num-processes 2 --suite unit --suite fuzz || exit 1
meson test -C $build --no-rebuild keyring keyring_frames supervisor_real_py || exit 1
for folder in store/core store/keyring store/db lifecycle/certs; do
  if gcovr --root . --filter "$folder/" --object-directory $build \
    --exclude '.*/main\.c' --exclude-throw-branches --fail-under-line 85 $build; then
    echo "ok coverage of $folder"
  else
    echo "not ok coverage of $folder"
  fi
done
# What decides who may do what is covered whole: each line, each branch.
for file in access policies; do
  if gcovr --root . --filter "lifecycle/auth/$file\.c" --object-directory $build \
    --exclude-throw-branches --fail-under-line 100 --fail-under-branch 100 $build; then
    echo "ok coverage of lifecycle/auth/$file.c"
  else
    echo "not ok coverage of lifecycle/auth/$file.c"
  fi
done
