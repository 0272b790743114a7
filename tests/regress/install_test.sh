#!/usr/bin/env bash
# Installs the build into a temporary folder and builds and runs the application of tests/regress/installed from it.
# Usage: install_test.sh BUILD CXX. Everything must be built.
set -euo pipefail
build="$1" cxx="$2"
source="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/installed"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export LATHE_DEVICE=emulator

cmake --install "$build" --prefix "$folder/prefix" >"$folder/log" || { cat "$folder/log"; exit 1; }
headers="$(cd "$folder/prefix/include/lathe/runtime/device/emulator" && echo *)"
if [[ $headers != "Counters.h Emulator.h Finding.h Mix.h" ]]; then
  echo "FAILED: headers of the emulator: $headers"
  exit 1
fi
cmake -S "$source" -B "$folder/build" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$folder/prefix" >"$folder/log" ||
  { cat "$folder/log"; exit 1; }
cmake --build "$folder/build" >"$folder/log" || { cat "$folder/log"; exit 1; }
"$folder/build/installed" || { echo "FAILED: the application"; exit 1; }
"$folder/prefix/bin/lathe" --version
