#!/usr/bin/env bash
# Run the tests of keyvault. As root on Debian 12.
#
#   tests/run.sh              set up, build, a short form of every test
#   tests/run.sh --full       also the big figures (docs/testing.md); hours, not minutes
#   tests/run.sh --only STAGE build, unit, sanitizers, fuzz, lint, quickstart, ...
#
# Last line: "N passed, N failed". Exit status 0 only when nothing failed and
# something ran. Leaves nothing outside build*/ but installed packages.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
full=0
only=
while [ $# -gt 0 ]; do
  case "$1" in
    --full) full=1 ;;
    --only)
      only=${2:?--only needs a stage}
      shift
      ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "run.sh: unknown option $1 (try --help)" >&2
      exit 2
      ;;
  esac
  shift
done
export KEYVAULT_TEST_FULL=$full
unset OPENSSL_CONF KEYVAULT_API KEYVAULT_KEYS_SOCKET KEYVAULT_TOKEN KEYVAULT_VAULT
logs=$root/build-logs
mkdir -p "$logs"
passed=0
failed=0
start=$SECONDS

# count PASSED FAILED WHAT
count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  printf '%5d s  %-28s %d passed, %d failed\n' "$((SECONDS - start))" "$3" "$1" "$2"
}
# check NAME COMMAND...: one test by exit status; its log is shown when it fails
check() {
  local name=$1
  shift
  if "$@" >"$logs/$name.log" 2>&1; then
    count 1 0 "$name"
  else
    count 0 1 "$name"
    tail -n 40 "$logs/$name.log" | sed 's/^/        /'
  fi
}
# meson_suites BUILD LABEL SUITE...: every test case of these suites counts
meson_suites() {
  local dir=$1 label=$2 suite=() name
  shift 2
  for name in "$@"; do suite+=(--suite "$name"); done
  rm -f "$dir"/san.* "$dir/meson-logs/testlog.junit.xml"
  meson test -C "$dir" --no-rebuild --num-processes 2 "${suite[@]}" --print-errorlogs >"$logs/$label.log" 2>&1
  local status=$? result
  result=$(python3 tests/support/junit_count.py "$dir/meson-logs/testlog.junit.xml") || result="0 1"
  read -r p f <<<"$result"
  local leaks
  leaks=$(find "$dir" -maxdepth 1 -name 'san.*' | wc -l)
  [ "$status" = 0 ] || [ "$f" -gt 0 ] || f=1
  count "$p" "$((f + leaks))" "$label"
  if [ "$((f + leaks))" -gt 0 ]; then
    grep -E '^not ok|FAIL|TIMEOUT|ERROR' "$logs/$label.log" | head -n 40 | sed 's/^/        /'
    find "$dir" -maxdepth 1 -name 'san.*' -exec head -n 30 {} \; | sed 's/^/        /'
  fi
}
wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }
built() { # built DIR [OPTION...]: set up and compile
  local dir=$1
  shift
  [ -e "$dir/build.ninja" ] || meson setup "$dir" "$@" || return 1
  meson configure "$dir" -Dtests=true -Dstrict=true || return 1
  meson compile -j 2 -C "$dir"
}

echo "keyvault tests, $(if [ $full = 1 ]; then echo full; else echo short; fi) form; logs in build-logs/"
.ci/setup build run test lint || exit 1

check build-gcc built build
if wanted unit; then
  meson_suites build unit unit structure fuzz
fi
if [ $full = 1 ] && wanted unit; then
  check store-model-1000000 env KEYVAULT_TEST_STEPS=1000000 build/tests/unit/test_store_model
fi
if wanted integration; then
  meson_suites build integration integration
fi
if wanted quickstart; then
  check quickstart env KEYVAULT_BUILD="$root/build" examples/quickstart.sh
fi
if wanted sanitizers; then
  check build-sanitizers built build-san -Db_sanitize=address,undefined -Db_lundef=false
  meson_suites build-san sanitizers unit fuzz integration
  check build-races tests/support/setup_races.sh
  check races tests/integration/provider/races.sh build-tsan
fi
if wanted fuzz; then
  check build-clang env CC=clang-14 tests/support/setup_clang.sh
  meson_suites build-clang fuzz fuzz
fi
for stage in crash sdk python bench coverage lint; do
  if wanted $stage && [ -x "tests/support/stage_$stage.sh" ]; then
    # each prints "ok NAME" or "not ok NAME" lines
    "tests/support/stage_$stage.sh" >"$logs/$stage.log" 2>&1
    status=$?
    p=$(grep -c '^ok ' "$logs/$stage.log")
    f=$(grep -c '^not ok ' "$logs/$stage.log")
    [ $status = 0 ] || [ "$f" -gt 0 ] || f=1
    [ "$p" -gt 0 ] || [ "$f" -gt 0 ] || f=1
    count "$p" "$f" "$stage"
    [ "$f" = 0 ] || grep -B 20 '^not ok ' "$logs/$stage.log" | tail -n 80 | sed 's/^/        /'
  fi
done

[ $passed -gt 0 ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ $failed = 0 ]
