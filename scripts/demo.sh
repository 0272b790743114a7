#!/usr/bin/env bash
# From a fresh checkout to the main job: installs what is missing, builds, and tunes DeepSeek-V2-Lite's MLA decode, on the
# GPU at hand, or, where there is none, on the cost model of an H100 SXM, verified on the PTX emulator. Ends with the chosen
# configuration, the files that were written, and how to look into them. Arguments go to `lathe tune` (for example --batch 8
# --tokens 32768).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$(realpath -m "${LATHE_BUILD_DIR:-$root/build/release}")"

LATHE_BUILD_DIR="$build" "$root/scripts/build.sh" lathe
unset LATHE_BUILD_DIR
lathe="$build/bin/lathe"

machine=()
if [[ " $* " != *" --target"* && " $* " != *" --device"* ]] && "$lathe" env --json | grep -q '"gpus": \[\]'; then
  printf '\nNo GPU here: tuning on the cost model of an H100 SXM, verifying on the PTX emulator. With a GPU this measures.\n' >&2
  machine=(--target h100-sxm --verify)
fi

printf '\n$ %s\n\n' "lathe tune --model deepseek-v2-lite ${machine[*]} $*" >&2
"$lathe" tune --model deepseek-v2-lite "${machine[@]}" "$@"
printf '\nThe lathe command is %s; put it on the PATH with\n  export PATH=%s:$PATH\n' "$lathe" "$build/bin" >&2
