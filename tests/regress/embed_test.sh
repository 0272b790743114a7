#!/usr/bin/env bash
# Compiles a folder of kernels with lathe and serves a step from it with examples/embed, which knows no compiler.
# Usage: embed_test.sh LATHE EMBED. Exit code 77: skipped, no GPU; what can be shown without one was shown.
set -euo pipefail
lathe="$1" embed="$2"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export LATHE_CACHE_DIR="$folder/cache"

fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# Names of the compiler must not be in the application.
if strings -n 8 "$embed" | grep -qE 'mlir::|llvm\.nvvm|NVPTXTargetMachine'; then
  fail "the application contains parts of the compiler"
fi
"$embed" "$folder/missing" 2>"$folder/error" && fail "a missing folder must be an error"
grep -q manifest.json "$folder/error" || fail "the error does not name the file: $(cat "$folder/error")"

if ! "$lathe" env --json | grep -q '"gpus": \[\]'; then
  "$lathe" compile --model deepseek-v2-lite -o "$folder/kernels" >"$folder/log"
  "$embed" "$folder/kernels" >"$folder/out" || fail "embed"
  grep -q 'sequence 0: 1000 tokens, first output 0x3f3f' "$folder/out" || fail "wrong result: $(cat "$folder/out")"
  grep -q 'sequence 1: 0 tokens, first output 0x0000' "$folder/out" || fail "an empty sequence gives 0: $(cat "$folder/out")"
  grep -q 'sequence 2: 77 tokens, first output 0x3f3f' "$folder/out" || fail "wrong result: $(cat "$folder/out")"
  exit 0
fi

"$lathe" compile --model deepseek-v2-lite --target h100-sxm -o "$folder/kernels" >"$folder/log"
"$embed" "$folder/kernels" 2>"$folder/error" && fail "without a GPU it must say so"
grep -qi cuda "$folder/error" || fail "the error does not name the driver: $(cat "$folder/error")"
printf 'embed_test.sh:1: Skipped\nno GPU: the files load up to the driver, the step was not run\n'
exit 77
