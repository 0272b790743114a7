#!/usr/bin/env bash
# Brings a fresh Debian 12 to the state in which scripts/build.sh works, and does nothing where that is so already.
# Debian packages come through apt (root or sudo); two NVIDIA archives come from the Python package index into .deps/,
# where the CUDA toolkit is not installed: the PTX compiler library and the driver's header. Called by build.sh.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
deps="$root/.deps"
cuda="${CUDA_HOME:-/usr/local/cuda}"

packages=(
  # The compiler that builds Lathe, and the one that is built into it.
  clang-22 lld-22 clang-format-22 clang-tidy-22 llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools
  # libFuzzer and the sanitizers, for the emulator's fuzzers.
  libclang-rt-22-dev
  # What LLVM's CMake files ask for.
  libzstd-dev zlib1g-dev libedit-dev libcurl4-openssl-dev libxml2-dev
  # Build tools.
  binutils ccache cmake git ninja-build libstdc++-12-dev
  # Libraries.
  libbenchmark-dev libcli11-dev libfmt-dev libgmock-dev libgtest-dev libxxhash-dev nlohmann-json3-dev
  # Downloads and scripts.
  ca-certificates python3 python3-pip
)

say() { printf 'setup: %s\n' "$*" >&2; }

missing_packages() {
  local installed
  installed="$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
    awk '$2 == "installed" {print $1}' || true)"
  local package
  for package in "${packages[@]}"; do
    grep -qxF "$package" <<<"$installed" || printf '%s\n' "$package"
  done
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "this is not Debian: packages are left to you (LLVM and MLIR 22, CMake, Ninja, a C++20 compiler; see README.md)"
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  if [[ $EUID -ne 0 ]] && ! { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then
    say "neither root nor sudo without a password; these packages are missing, install them as root:"
    say "  apt-get install --no-install-recommends ${missing[*]}"
    exit 1
  fi
  if ! { as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends "${missing[@]}"; } >&2; then
    mapfile -t missing < <(missing_packages)
    say "apt-get failed (no network?); these packages are still missing: ${missing[*]}"
    exit 1
  fi
}

# python with pip, or nothing.
pip_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if command -v "$python" >/dev/null && "$python" -m pip --version >/dev/null 2>&1; then
      printf '%s' "$python"
      return
    fi
  done
}

# unpack_wheel <name> <folder inside>...: downloads the wheel of CUDA 13.0 and puts the folders below .deps/.
unpack_wheel() {
  local name="$1" python stage
  shift
  python="$(pip_python)"
  if [[ -z $python ]]; then
    say "python3 has no pip: cannot download $name; install python3-pip"
    return 1
  fi
  mkdir -p "$deps"
  stage="$(mktemp -d "$deps/.stage-XXXXXX")"
  if ! "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$stage" \
    "$name==13.0.*" >&2; then
    rm -rf "$stage"
    say "cannot download $name==13.0.* from the Python package index (no network?)"
    return 1
  fi
  "$python" -m zipfile -e "$stage"/*.whl "$stage/unpacked"
  local folder
  for folder in "$@"; do
    mkdir -p "$deps/$folder"
    cp -r "$stage/unpacked/$folder/." "$deps/$folder/"
  done
  rm -rf "$stage"
  say "unpacked $name into .deps/"
}

have_compiler_library() {
  local base
  for base in "$cuda" "$deps/nvidia/cu13"; do
    if [[ -e $base/include/nvPTXCompiler.h ]] && compgen -G "$base/lib*/libnvptxcompiler_static.a" >/dev/null; then
      return 0
    fi
  done
  return 1
}

have_driver_header() { [[ -e $cuda/include/cuda.h || -e $deps/nvidia/cu13/include/cuda.h ]]; }

install_nvidia() {
  if ! have_compiler_library && ! unpack_wheel nvidia-nvptxcompiler nvidia/cu13; then
    say "without libnvptxcompiler_static.a Lathe assembles with ptxas of CUDA 12.8 or newer, else with the driver"
  fi
  if ! have_driver_header && ! unpack_wheel nvidia-cuda-runtime nvidia/cu13/include; then
    say "cuda.h is missing: install a CUDA toolkit and set CUDA_HOME, or run this again with a network"
    exit 1
  fi
}

install_packages
install_nvidia
