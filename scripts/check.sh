#!/usr/bin/env bash
# Format, borders between rooms, and clang-tidy. By default for the files that differ from HEAD, tracked or new.
# Usage: check.sh [--all] [--no-tidy] [--fix] [base]   --fix formats instead of complaining; base: compare with this commit
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$(realpath -m "${LATHE_BUILD_DIR:-$root/build/release}")"
cd "$root"
all=0 tidy=1 base=HEAD format=(--dry-run --Werror)
for argument in "$@"; do
  case "$argument" in
  --all) all=1 ;;
  --no-tidy) tidy=0 ;;
  --fix) format=(-i) ;;
  -h | --help)
    sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  -*)
    echo "check: unknown option $argument (see --help)" >&2
    exit 2
    ;;
  *) base="$argument" ;;
  esac
done

changed_files() {
  if ((all)) || ! git rev-parse -q --verify "$base^{commit}" >/dev/null; then
    git ls-files
  else
    git diff --name-only --diff-filter=d "$base"
  fi
  git ls-files --others --exclude-standard
}
if [[ $base != HEAD ]] && ! git rev-parse -q --verify "$base^{commit}" >/dev/null; then
  echo "check: there is no commit $base" >&2
  exit 2
fi
mapfile -t sources < <(changed_files | grep -E '\.(cpp|h)$' | sort -u | while read -r f; do [[ -f $f ]] && echo "$f"; done)

status=0
if ((${#sources[@]})); then
  echo "check: format of ${#sources[@]} files"
  clang-format-22 "${format[@]}" "${sources[@]}" || status=1
fi
echo "check: borders between rooms and habits"
python3 scripts/lint.py --self-test >/dev/null || status=1
python3 scripts/lint.py || status=1

tidy_files() {
  local source
  for source in "${sources[@]}"; do
    if grep -qF "\"$root/$source\"" "$build/compile_commands.json"; then
      printf '%s\0' "$source"
    fi
  done
}
if ((tidy)) && [[ ! -f $build/compile_commands.json ]]; then
  echo "check: no clang-tidy before a build (scripts/build.sh writes compile_commands.json)"
elif ((tidy)); then
  echo "check: clang-tidy"
  tidy_files | xargs -0 -r -n 1 -P "$(nproc)" clang-tidy-22 --quiet -p "$build" || status=1
fi
exit "$status"
