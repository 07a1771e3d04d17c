#!/usr/bin/env bash
# A compiler that only complains: the one that is there (its warnings are errors), and clang-tidy with clang's warnings and
# its thread-safety analysis. tidy.sh COMPILER OPTION… -o OBJECT OPTION… SOURCE
#
# ccache runs it (CCACHE_PREFIX in ./dev), so that Ninja and ccache decide what is examined: a file whose text, headers,
# options or rules are not those of an earlier run that found it clean, in this folder or another. The object is empty.
set -euo pipefail
command=()
while [[ $# -gt 1 ]]; do
  if [[ $1 == -o ]]; then
    object=$2
    shift
  else
    command+=("$1")
  fi
  shift
done
"${command[@]}" -fsyntax-only "$1"
"${0%/*}"/../.venv/bin/clang-tidy --quiet "$1" -- "${command[@]:1}" -Wthread-safety
: >"$object"
