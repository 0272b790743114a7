#!/usr/bin/env bash
# Sets up, configures and builds everything: the release preset, in build/release or in LATHE_BUILD_DIR. Arguments are
# targets for Ninja. Called by test.sh and demo.sh.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$(realpath -m "${LATHE_BUILD_DIR:-$root/build/release}")"
unset LATHE_BUILD_DIR # A variable of the scripts, not of Lathe.

"$root/scripts/setup.sh"
options=()
# Elsewhere than on Debian 12 the compiler may have another name.
command -v clang-22 >/dev/null || options+=("-DCMAKE_C_COMPILER=${CC:-clang}")
command -v clang++-22 >/dev/null || options+=("-DCMAKE_CXX_COMPILER=${CXX:-clang++}")
cd "$root"
cmake --preset release -B "$build" "${options[@]}"
targets=()
(($#)) && targets=(--target "$@")
cmake --build "$build" --parallel "$(nproc)" "${targets[@]}"
