#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test that this machine can run. The last lines say which tests were
# skipped and why, and "N passed, N failed, N skipped". Arguments go to ctest, for example -L unit or -R Assemble.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$(realpath -m "${LATHE_BUILD_DIR:-$root/build/release}")"

LATHE_BUILD_DIR="$build" "$root/scripts/build.sh"
unset LATHE_BUILD_DIR
results="$build/test-results.xml"
rm -f "$results"
status=0
ctest --test-dir "$build" --parallel "$(nproc)" --output-on-failure --output-junit "$results" \
  --test-output-size-passed 65536 --test-output-size-failed 1048576 "$@" || status=$?
python3 "$root/scripts/summarize_tests.py" "$results" || status=$?
exit "$status"
