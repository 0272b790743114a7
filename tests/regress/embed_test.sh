#!/usr/bin/env bash
# Compiles a folder of kernels with lathe and serves a step from it with examples/embed, which knows no compiler.
# Usage: embed_test.sh LATHE EMBED. Without a GPU the step runs on the emulator, which the last cases force anyway.
set -euo pipefail
lathe="$1" embed="$2"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
unset LATHE_DEVICE
export LATHE_CACHE_DIR="$folder/cache"

fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# Names of the compiler must not be in the application.
if strings -n 8 "$embed" | grep -qE 'mlir::|llvm\.nvvm|NVPTXTargetMachine'; then
  fail "the application contains parts of the compiler"
fi
"$embed" "$folder/missing" 2>"$folder/error" && fail "a missing folder must be an error"
grep -q manifest.json "$folder/error" || fail "the error does not name the file: $(cat "$folder/error")"

# The GPU where there is one, else the emulator; --target, because compiling needs neither.
check_step() {
  grep -q 'sequence 0: 1000 tokens, first output 0x3f3f' "$folder/out" || fail "wrong result: $(cat "$folder/out")"
  grep -q 'sequence 1: 0 tokens, first output 0x0000' "$folder/out" || fail "an empty sequence gives 0: $(cat "$folder/out")"
  grep -q 'sequence 2: 77 tokens, first output 0x3f3f' "$folder/out" || fail "wrong result: $(cat "$folder/out")"
}
"$lathe" compile --model deepseek-v2-lite --target h100-sxm -o "$folder/kernels" >"$folder/log"
"$embed" "$folder/kernels" >"$folder/out" || fail "embed"
check_step
LATHE_DEVICE=emulator "$embed" "$folder/kernels" >"$folder/out" || fail "embed on the emulator"
grep -q '^on Lathe PTX emulator' "$folder/out" || fail "LATHE_DEVICE=emulator must emulate: $(cat "$folder/out")"
check_step

if "$lathe" env --json | grep -q '"gpus": \[\]'; then
  LATHE_DEVICE=cuda "$embed" "$folder/kernels" 2>"$folder/error" && fail "LATHE_DEVICE=cuda needs a GPU"
  grep -qi cuda "$folder/error" || fail "the error does not name the driver: $(cat "$folder/error")"
fi
LATHE_DEVICE=abacus "$embed" "$folder/kernels" 2>"$folder/error" && fail "LATHE_DEVICE=abacus must be an error"
grep -q 'LATHE_DEVICE.*cuda, emulator' "$folder/error" || fail "the error does not name the choices: $(cat "$folder/error")"
